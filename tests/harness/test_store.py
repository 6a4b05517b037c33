"""The store by itself: what is kept, what is repaired, what is refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from persona_bench.harness import store
from persona_bench.harness.store import RecordLog, StoreError, join
from tests.support.sandbox import needs_sandbox

ABOUT = {"kind": "generations", "fingerprint": "f" * 64}


def key(n: int | str) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def record(n: int, **more: Any) -> dict[str, Any]:
    return {"key": key(n), "response": f"r{n} \u2028 é 💡 \x00", **more}


def filled(folder: Path, numbers: range) -> RecordLog:
    record_log = RecordLog(folder, ABOUT)
    for n in numbers:
        record_log.add(record(n))
    return record_log


def the_file(folder: Path) -> Path:
    (segment,) = folder.glob("*.jsonl")
    return segment


def test_an_added_record_is_readable_at_once_and_in_the_next_process(tmp_path: Path) -> None:
    record_log = filled(tmp_path, range(5))
    assert key(3) in record_log
    assert key(9) not in record_log
    assert len(record_log) == 5
    without_crc = {k: v for k, v in record_log.get([key(3)])[key(3)].items() if k != "crc"}
    assert without_crc == record(3)
    again = RecordLog(tmp_path, ABOUT)  # while the first still writes
    assert set(again.get(map(key, range(9)))) == set(map(key, range(5)))
    record_log.add(record(5))
    record_log.close()
    assert len(RecordLog(tmp_path, ABOUT)) == 6
    assert [r["response"] for r in again.records()] == [record(n)["response"] for n in range(5)]


def test_a_long_prompt_need_not_be_read(tmp_path: Path) -> None:
    record_log = RecordLog(tmp_path, ABOUT)
    tricky = 'he said ,"prompt": and \\,"prompt":"x"'
    record_log.add({"key": key(0), "response": tricky, "prompt": "long", "more": 1})
    assert record_log.get([key(0)], before="prompt")[key(0)] == {"key": key(0), "response": tricky}
    assert record_log.get([key(0)])[key(0)]["more"] == 1


def test_a_first_line_says_what_wrote_the_segment(tmp_path: Path) -> None:
    filled(tmp_path, range(1)).close()
    (header,) = RecordLog(tmp_path, ABOUT).headers
    assert header["fingerprint"] == "f" * 64
    assert header["format"] == store.FORMAT
    assert {"persona-bench", "lm-eval", "python"} <= set(header["versions"])
    for line in the_file(tmp_path).read_text().splitlines():
        assert json.loads(line)["crc"]  # every line is JSON for other tools too


@pytest.mark.parametrize("cut", [1, 2, 10, 60])
def test_a_torn_last_record_is_dropped_and_can_be_added_again(tmp_path: Path, cut: int) -> None:
    filled(tmp_path, range(4)).close()
    segment = the_file(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-cut])
    record_log = RecordLog(tmp_path, ABOUT)
    assert record_log.torn == 1
    assert not record_log.damaged
    assert [key(n) in record_log for n in range(4)] == [True, True, True, False]
    record_log.add(record(3))
    record_log.close()
    assert len(RecordLog(tmp_path, ABOUT)) == 4


@pytest.mark.parametrize("where", ["response", "key", "crc", "line"])
def test_a_damaged_record_is_found_named_and_left_out(tmp_path: Path, where: str) -> None:
    filled(tmp_path, range(4)).close()
    segment = the_file(tmp_path)
    lines = segment.read_bytes().splitlines(keepends=True)
    damaged = {
        "response": lines[2].replace(b"r1", b"r7"),
        "key": lines[2].replace(b'{"key":"', b'{"kez":"'),
        "crc": lines[2][:-4] + b"z" + lines[2][-3:],
        "line": b"\x00" * 50 + b"\n",
    }[where]
    assert damaged != lines[2]
    segment.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    with pytest.warns(UserWarning, match=rf"{segment.name}:3; is the disk sound"):
        record_log = RecordLog(tmp_path, ABOUT)
    assert [key(n) in record_log for n in range(4)] == [True, False, True, True]


def test_every_byte_of_a_record_is_guarded(tmp_path: Path) -> None:
    """Whatever single byte is changed, no record is read with another content."""
    filled(tmp_path, range(2)).close()
    segment = the_file(tmp_path)
    whole = segment.read_bytes()
    start = whole.index(b"\n") + 1
    wanted = {key(n): record(n)["response"] for n in range(2)}
    for place in range(start, len(whole)):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record_log = RecordLog(tmp_path, ABOUT)
        for found in record_log.records():
            assert found["response"] == wanted[found["key"]]
        assert len(record_log) < 2


def test_a_segment_of_another_format_is_refused(tmp_path: Path) -> None:
    record_log = RecordLog(tmp_path, ABOUT)
    record_log.about["format"] = 2
    record_log.add(record(0))
    record_log.close()
    with pytest.raises(StoreError, match=r"is in format 2 of the store, this version .* format 1"):
        RecordLog(tmp_path, ABOUT)


def test_an_error_counts_as_not_done_and_is_kept(tmp_path: Path) -> None:
    record_log = RecordLog(tmp_path, ABOUT)
    record_log.add({"key": key(0), "error": "HTTP 500"})
    record_log.add(record(1, response='not an "error": at all'))
    assert key(0) not in record_log
    record_log.close()
    again = RecordLog(tmp_path, ABOUT)
    assert key(0) not in again
    assert key(1) in again
    assert "HTTP 500" in the_file(tmp_path).read_text()


def test_of_two_records_of_one_key_the_first_counts_for_every_reader(tmp_path: Path) -> None:
    one, two = RecordLog(tmp_path, ABOUT), RecordLog(tmp_path, ABOUT)
    one.add(record(0, response="first"))
    two.add(record(0, response="second"))
    assert RecordLog(tmp_path, ABOUT).get([key(0)])[key(0)]["response"] == "first"


def _write_many(folder: Path, who: int) -> None:
    record_log = RecordLog(folder, ABOUT)
    for n in range(300):
        record_log.add(record(n, response=f"{who} " * 200))
    os._exit(0)  # no closing


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    record_log = RecordLog(tmp_path, ABOUT)
    assert len(record_log) == 300
    assert not record_log.torn
    assert not record_log.damaged
    lines = sum(len(file.read_bytes().splitlines()) for file in tmp_path.glob("*.jsonl"))
    assert lines == 4 * 301


FILL = """
import sys
import time
import warnings
from pathlib import Path
from tests.harness.test_store import ABOUT, RecordLog, StoreError, record
record_log = RecordLog(Path(sys.argv[1]), ABOUT)
try:
    for n in range(100_000):
        record_log.add(record(n))
except StoreError as error:
    print(n, error)
"""


@needs_sandbox
def test_a_full_disk_is_one_sentence_and_what_was_written_stays(tmp_path: Path) -> None:
    small = ["bwrap", "--dev-bind", "/", "/", "--size", "65536", "--tmpfs", "/mnt"]
    reread = FILL + "print(len(RecordLog(Path(sys.argv[1]), ABOUT)), end='')"
    done = subprocess.run(
        [*small, sys.executable, "-c", reread, "/mnt/store"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, kept = done.stdout.splitlines()
    assert "can't be written (No space left on device)" in said
    assert f"the {kept} finished records are kept" in said
    assert said.split()[0] == kept
    assert int(kept) > 100


@needs_sandbox
def test_a_folder_without_write_permission_is_one_sentence(tmp_path: Path) -> None:
    filled(tmp_path / "store", range(3)).close()
    locked = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        [*locked, sys.executable, "-c", FILL, str(tmp_path / "store")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "can't be written (Read-only file system): the 3 finished records" in done.stdout


def test_stores_are_joined_by_copying(tmp_path: Path) -> None:
    for name, numbers in (("a", range(3)), ("b", range(2, 6))):
        filled(tmp_path / name / "generations" / "m", numbers).close()
    target = tmp_path / "all"
    assert join([tmp_path / "a", tmp_path / "b"], target) == 2
    assert len(RecordLog(target / "generations" / "m", ABOUT)) == 6
    assert join([tmp_path / "a", tmp_path / "b"], target) == 0  # nothing twice
    segment = the_file(tmp_path / "a" / "generations" / "m")
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(StoreError, match="have one name and differ"):
        join([tmp_path / "a"], target)


def test_many_records_are_all_found(tmp_path: Path) -> None:
    """`make bench BENCH=store` says how long 100,000 take."""
    record_log = RecordLog(tmp_path, ABOUT)
    for n in range(20_000):
        record_log.add(record(n, response="The answer is 42. " * 40))
    record_log.close()
    found = RecordLog(tmp_path, ABOUT).get(key(n) for n in range(20_000))
    assert len(found) == 20_000
