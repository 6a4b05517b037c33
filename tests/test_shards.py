"""Shards that join, and responses that are graded again."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest

from persona_bench import read_outcomes
from persona_bench.grading.maths import GRADER
from persona_bench.harness.merge import MergeError, merge
from persona_bench.harness.regrade import regrade
from persona_bench.results.samples import OutcomesError
from tests.support.studies import ask, server, study_of, written
from tests.test_cli import persona_bench

# ---------------------------------------------------------------------- shards


def same(a: Path, b: Path) -> None:
    pd.testing.assert_frame_equal(read_outcomes(a), read_outcomes(b))


@pytest.mark.parametrize("count", [3, 5])
def test_shards_joined_equal_the_run_in_one_piece(tmp_path: Path, count: int) -> None:
    with server() as chat:
        ask(chat, tmp_path / "whole")
        asked = len(chat.requests)
        parts = [tmp_path / f"part-{n}" for n in range(1, count + 1)]
        for n, part in enumerate(parts, start=1):
            ask(chat, part, shard=f"{n}/{count}")
        assert len(chat.requests) == 2 * asked
        done = merge(parts, tmp_path / "joined")
        assert done.tasks == [("small", "persona_arithmetic", asked)]
        same(tmp_path / "joined", tmp_path / "whole")
        assert results(tmp_path / "joined") == pytest.approx(
            {k: v for k, v in results(tmp_path / "whole").items() if "stderr" not in k}
        )
        ask(chat, tmp_path / "joined")  # the stores are joined too: nothing is asked
        assert len(chat.requests) == 2 * asked


def results(folder: Path) -> dict[str, float]:
    (file,) = folder.glob("small/results_*.json")
    found = json.loads(file.read_text())["results"]["persona_arithmetic"]
    return {k: v for k, v in found.items() if isinstance(v, float | int) and "sample" not in k}


@pytest.mark.slow
def test_shards_of_one_output_folder_by_the_command(tmp_path: Path) -> None:
    with server() as chat:
        file = written(tmp_path, study_of(chat))
        for n in (1, 2):
            persona_bench("run", str(file), "--shard", f"{n}/2", cwd=tmp_path)
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "shard-1-of-2", "shard-2-of-2", "store",
        }  # fmt: skip
        with pytest.raises(OutcomesError, match="shards 1/2, 2/2 are separate results: join them"):
            read_outcomes(tmp_path / "out")
        with pytest.warns(UserWarning, match="this is shard 1/2"):
            assert len(read_outcomes(tmp_path / "out" / "shard-1-of-2")) == 72
        asked = len(chat.requests)
        persona_bench("merge", "out", "--out", "joined", cwd=tmp_path)
        assert len(read_outcomes(tmp_path / "joined")) == 144
        # the store of all shards is one: the whole study finds everything done
        for folder in (tmp_path / "out").glob("shard-*"):
            shutil.rmtree(folder)
        persona_bench("run", str(file), "--only", "a", cwd=tmp_path)
        assert len(chat.requests) == asked
    assert (tmp_path / "joined" / "scores" / "a").is_dir()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves")
    with server() as chat:
        for n in (1, 2):
            ask(chat, folder / f"{n}", shard=f"{n}/2")
    return folder


def edit(folder: Path, pattern: str, old: str, new: str) -> None:
    for file in folder.glob(pattern):
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


def test_shards_of_different_runs_are_not_merged(halves: Path, tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="shard 2/2 is missing"):
        merge([halves / "1"], tmp_path / "joined")
    with pytest.raises(MergeError, match="is in a folder to be joined"):
        merge([halves / "1", halves / "2"], halves / "2")
    with pytest.raises(MergeError, match="no such folder"):
        merge([halves / "3"], tmp_path / "joined")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MergeError, match="neither a store nor results"):
        merge([tmp_path / "empty"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_line_separators_inside_a_response_are_text(halves: Path, tmp_path: Path) -> None:
    shutil.copytree(halves, tmp_path / "halves")
    parts = [tmp_path / "halves" / n for n in ("1", "2")]
    for part in parts:
        edit(part, "*/samples_*.jsonl", "The answer is ", "The\u2028answer\x85is ")
    merge(parts, tmp_path / "joined")
    joined = read_outcomes(tmp_path / "joined")
    assert joined["response"].str.contains("\u2028").any()
    assert len(joined) == sum(len(read_outcomes(part)) for part in parts)
    (again,) = regrade(tmp_path / "joined")
    assert again.responses == len(joined)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"persona_set_version": "1"', '"persona_set_version": "9"', "in persona_set_version"),
        (f'"grader": "{GRADER}"', '"grader": "maths 0"', "the shards differ in grader"),
        ('"lm-eval": "0.4.', '"lm-eval": "0.3.', "differ in version of lm-eval"),
        ('"max_gen_toks": 128', '"max_gen_toks": 64', "differ in generation_kwargs"),
        ('"shard": "2/2"', '"shard": "2/3"', "shards of 2 and 3 parts"),
    ],
)
def test_shards_of_other_settings_are_refused(
    halves: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    shutil.copytree(halves / "2", tmp_path / "2")
    edit(tmp_path / "2", "small/results_*.json", old, new)
    with pytest.raises(MergeError, match=words):
        merge([halves / "1", tmp_path / "2"], tmp_path / "joined")


def test_stores_of_other_versions_are_refused(halves: Path, tmp_path: Path) -> None:
    import zlib

    shutil.copytree(halves / "2", tmp_path / "2")
    (segment,) = tmp_path.glob("2/store/generations/*/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0])
    del header["crc"]
    header["versions"]["transformers"] = "4.0"
    body = json.dumps(header, separators=(",", ":")).encode()
    lines[0] = body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)
    segment.write_bytes(b"".join(lines))
    with pytest.raises(MergeError, match=r"mixed versions: .* transformers .* and 4\.0"):
        merge([halves / "1", tmp_path / "2"], tmp_path / "joined")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/100"])
def test_an_impossible_shard_is_refused(tmp_path: Path, shard: str) -> None:
    with server() as chat, pytest.raises(ValueError, match="shard="):
        ask(chat, tmp_path, shard=shard)


# ---------------------------------------------------------------------- grading again


@pytest.mark.slow
def test_regrading_needs_no_model_and_keeps_the_old(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path / "out")
    first = read_outcomes(tmp_path / "out")
    (file,) = tmp_path.glob("out/small/samples_*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    spoiled = [row for row in rows if row["acc"]["verdict"] == "correct"][:7]
    for row in spoiled:  # as an older grader might have had it
        for metric in row["metrics"]:
            row[metric].update(verdict="wrong", reason="wrong_answer")
    for row in rows:  # nor did it record how it found the answer
        for metric in row["metrics"]:
            del row[metric]["route"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = file.read_bytes()
    assert read_outcomes(tmp_path / "out")["correct"].sum() == first["correct"].sum() - 7
    assert set(read_outcomes(tmp_path / "out")["route"]) == {""}
    assert set(first["route"]) == {"boxed", "stated"}

    done = persona_bench("score", "out", "--regrade", cwd=tmp_path)
    assert f"7 of {len(rows)} verdicts changed" in done.stderr
    assert file.read_bytes() == kept
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that there are two files is no news
        pd.testing.assert_frame_equal(read_outcomes(tmp_path / "out"), first)
    again = persona_bench("score", "out", "--regrade", cwd=tmp_path)
    assert f"0 of {len(rows)} verdicts changed" in again.stderr
