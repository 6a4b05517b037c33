"""The persona-bench command, as a person meets it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from persona_bench import load_persona_set
from persona_bench.benchmarks.arithmetic import BENCHMARK
from tests.support.chat_server import ChatServer


def persona_bench(
    *arguments: str | Path, cwd: Path, ok: bool = True, columns: int = 100, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": str(columns)}
    environment |= variables
    command = [str(Path(sys.executable).parent / "persona-bench"), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=540
    )
    if ok and done.returncode != 0:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder that `persona-bench run` made against a small server."""
    folder = tmp_path_factory.mktemp("results")
    questions = BENCHMARK.load(None, 0)
    answers = {BENCHMARK.prompt(q.problem): q.answer for q in questions}
    rates = {p.prompt: 0.3 + 0.1 * i for i, p in enumerate(load_persona_set("demo"))}
    with ChatServer(rates, answers) as chat:
        done = persona_bench(
            "run",
            "--model",
            "local-chat-completions",
            "--model_args",
            f"model=small[red],base_url={chat.url},num_concurrent=8",
            "--tasks",
            "persona_arithmetic",
            "--metadata",
            '{"persona_set": "demo", "n_questions": 30}',
            "--output-path",
            "out",
            cwd=folder,
        )
        assert len(chat.requests) == 180
    assert "PSS" in done.stdout
    assert "small[red]" in done.stdout
    return folder


def test_run_ends_with_scores_files_and_figures(results: Path) -> None:
    scores = results / "out" / "scores"
    names = {path.name for path in scores.iterdir()}
    for kind in ("accuracy", "lottery", "heat_map", "failures", "by_group"):
        for suffix in ("png", "pdf", "svg", "csv", "tex"):
            assert f"persona_arithmetic_{kind}.{suffix}" in names
    assert "index.html" in names
    line = (scores / "persona_arithmetic_lottery.tex").read_text()
    assert line.startswith("% persona-bench run --model local-chat-completions")
    assert "models: small[red]" in line
    assert "seed 0" in line
    for kind in ("variance", "groups", "contrasts", "persona_contrasts"):
        assert f"persona_arithmetic_{kind}.csv" in names
    table = pd.read_csv(scores / "persona_arithmetic_personas.csv")
    assert len(table) == 6
    stored = json.loads((scores / "persona_arithmetic_stability.json").read_text())
    assert stored["task"] == "persona_arithmetic"
    assert stored["pss"]["value"] == pytest.approx(
        table["accuracy"].min() / table["accuracy"].max()
    )
    assert {part["part"] for part in stored["variance_parts"]["parts"]} >= {"question", "persona"}
    assert len(stored["contrasts"]["per_persona"]) == 5
    assert stored["provenance"]["scored_with"]["lm-eval"].startswith("0.4.")
    how = stored["provenance"]["run"]
    assert how["task"]["persona_set"] == "demo"
    assert how["task"]["truncation"] == "by finish reason"
    assert how["generation_kwargs"]["max_gen_toks"] == 128
    assert how["model_args"]["num_concurrent"] == 8


def test_score_gives_the_same_again_and_json(results: Path) -> None:
    done = persona_bench("score", "out", "--out", "again", "--no-page", "--json", cwd=results)
    (first,) = json.loads(done.stdout)
    stored = json.loads((results / "out/scores/persona_arithmetic_stability.json").read_text())
    assert first["pss"] == stored["pss"]
    assert first["noise_floor"] == stored["noise_floor"]
    one = (results / "out/scores/persona_arithmetic_personas.csv").read_bytes()
    assert (results / "again/persona_arithmetic_personas.csv").read_bytes() == one


@pytest.mark.parametrize(("columns", "full"), [(80, ()), (80, ("--full",)), (160, ("--full",))])
def test_the_printed_table_names_every_persona(
    results: Path, columns: int, full: tuple[str, ...]
) -> None:
    again = ("score", "out", "--out", "again", "--no-page", *full)
    done = persona_bench(*again, cwd=results, columns=columns)
    for persona in load_persona_set("demo"):
        assert persona.id in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "noise floor" in done.stdout
    assert ("what it is" in done.stdout) == bool(full)


def run_of_another_model(results: Path, name: str, **changed: str) -> Path:
    """The same run as if a model had made it that is always wrong under one persona."""
    folder = results / name
    shutil.copytree(results / "out", folder, ignore=shutil.ignore_patterns("scores"))
    (samples,) = folder.rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row in rows:
        row["doc"] |= changed
        if row["doc"]["persona"] == "pirate":
            row["acc"] |= {"verdict": "wrong", "reason": "wrong_answer"}
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_score_says_where_the_conclusion_depends_on_the_grader(results: Path) -> None:
    folder = results / "manner"
    shutil.copytree(results / "out", folder, ignore=shutil.ignore_patterns("scores"))
    (samples,) = folder.rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row in rows:  # all of the same skill, but the pirate never states its answer
        answer = int(row["doc"]["answer"]) + (row["doc_id"] // 6 % 5 == 0)
        pirate = row["doc"]["persona"] == "pirate"
        said = f"Arr, {answer} it be" if pirate else f"So it is \\boxed{{{answer}}}."
        row["resps"] = [[said]]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    short = persona_bench("score", "manner", "--regrade", "--no-page", cwd=results, columns=80)
    assert "unstable under a strict grader." in " ".join(short.stdout.split())
    done = persona_bench("score", "manner", "--full", cwd=results, columns=80)
    printed = " ".join(done.stdout.split())
    assert "pirate 0.000 1.000 0.800 0.000" in printed
    assert "undetermined as graded, unstable under a strict grader." in printed
    assert max(map(len, done.stdout.splitlines())) <= 80
    table = pd.read_csv(folder / "scores/persona_arithmetic_routes.csv").set_index("persona")
    assert table.loc["pirate", ["last", "accuracy", "strict_accuracy"]].tolist() == [1, 0.8, 0]
    assert (table.drop("pirate")["boxed"] == 1).all()
    stored = json.loads((folder / "scores/persona_arithmetic_stability.json").read_text())
    told = stored["grader_sensitivity"]
    assert told["disagree"]
    assert told["strict"]["conclusion"] == "unstable"
    assert told["headline"]["pss"] == stored["pss"]
    page = (folder / "scores/index.html").read_text()
    for words in (
        "How answers were found",
        "undetermined as graded, unstable under a strict grader.",
    ):
        assert words in page


def test_compare_names_the_persona_that_got_worse(results: Path) -> None:
    assert "pirate" in [p.id for p in load_persona_set("demo")]
    run_of_another_model(results, "other")
    compared = ("compare", "out", "other", "--out", "compared", "--no-page")
    done = persona_bench(*compared, cwd=results, columns=80)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "pss_corrected" in done.stdout
    assert "a: small[red] (out)\nb: small[red] (other)\n" in done.stdout  # runs of one model
    table = pd.read_csv(results / "compared/persona_arithmetic_comparison_personas.csv")
    assert table.loc[0, "persona"] == "pirate"
    assert table.loc[0, "p_holm"] < 0.05
    assert (table["difference"][1:] == 0).all()
    done = persona_bench("compare", "out", "other", "--json", cwd=results)
    (printed,) = json.loads(done.stdout)
    stored = json.loads((results / "compared/persona_arithmetic_comparison.json").read_text())
    assert printed["metrics"] == stored["metrics"]
    assert printed["metrics"][1]["b"] == 0  # the worst persona's accuracy


def test_three_runs_make_tables_figures_and_a_page(results: Path) -> None:
    run_of_another_model(results, "worse")
    shutil.copytree(results / "out", results / "same", ignore=shutil.ignore_patterns("scores"))
    log = results / "trained"
    log.mkdir()
    told = {"step": [1, 2], "reward": [0.1, 0.4], "entropy": [1.0, 0.5]}
    pd.DataFrame(told).to_csv(log / "log.csv", index=False)
    three = ("compare", "first=out", "worse=worse", "same=same", "--out", "three")
    three += ("--width", "3.25", "--serif")
    done = persona_bench(*three, "--training", "tuned=absent", cwd=results, ok=False)
    assert "absent has no log.csv: give the folder of a persona-bench train run" in done.stderr
    assert not (results / "three").exists()
    done = persona_bench(*three, "--training", "tuned=trained", cwd=results)
    assert done.stdout.count("persona_arithmetic: b - a") == 2
    out = results / "three"
    models = pd.read_csv(out / "tables/persona_arithmetic_models.csv").set_index("model")
    scored = json.loads((results / "out/scores/persona_arithmetic_stability.json").read_text())
    assert models.loc["first", "pss"] == scored["pss"]["value"] == models.loc["same", "pss"]
    assert models.loc["worse", "worst"] == 0
    text = (out / "tables/persona_arithmetic_models.md").read_text()
    assert "differs from first by this test, corrected for the 2 models" in text
    assert "0.000<sup>s</sup>" in text
    forest = pd.read_csv(out / "figures/persona_arithmetic_accuracy.csv")
    table = pd.read_csv(results / "out/scores/persona_arithmetic_personas.csv")
    mine = forest[forest["model"] == "first"].set_index("persona")
    shared = ["accuracy", "low", "high", "n"]
    assert mine.loc[table["persona"], shared].to_numpy() == pytest.approx(table[shared].to_numpy())
    pair = pd.read_csv(out / "worse_vs_first/persona_arithmetic_comparison.csv")
    drawn = pd.read_csv(out / "figures/persona_arithmetic_differences_worse.csv")
    drawn = drawn[drawn["panel"] == "metric"]
    assert drawn["low"].to_numpy() == pytest.approx(pair["low"].to_numpy(), nan_ok=True)
    curves = pd.read_csv(out / "figures/training.csv")
    assert set(curves["run"]) == {"tuned"}
    assert (out / "tables/methods.tex").read_text().count("\\\\") > 4
    pdf = (out / "figures/persona_arithmetic_accuracy.pdf").read_bytes()
    assert b"/MediaBox [ 0 0 234 " in pdf
    assert b"STIX" in pdf
    page = (out / "index.html").read_text()
    assert page.count("data-chart=") >= 12
    for words in ("first (reference)", "Corrected PSS", "verdict-card"):
        assert words in page
    done = persona_bench("compare", "out", cwd=results, ok=False)
    assert "one model; give two or more" in done.stderr


def test_a_leaderboard_keeps_what_was_asked_otherwise_apart(results: Path) -> None:
    run_of_another_model(results, "reworded-too", system="You are somebody else.")
    run_of_another_model(results, "wrong-pirate")
    board = ("leaderboard", "first=out", "wrong-pirate=wrong-pirate", "reworded-too=reworded-too")
    done = persona_bench(*board, "--out", "board", cwd=results)
    assert "accuracy and stability over personas (2 of 2: asked or graded" in done.stdout
    first = pd.read_csv(results / "board/persona_arithmetic_leaderboard_1.csv")
    assert first["model"].tolist() == ["first", "wrong-pirate"]  # the highest worst accuracy first
    assert first["rank"].tolist() == [1, 2]
    second = pd.read_csv(results / "board/persona_arithmetic_leaderboard_2.csv")
    assert second["model"].tolist() == ["reworded-too"]
    (results / "notes").mkdir()
    done = persona_bench("leaderboard", "notes", "first=out", cwd=results)
    assert "left out: notes, which has no samples" in done.stderr
    assert "first" in done.stdout
    done = persona_bench("leaderboard", "notes", cwd=results, ok=False)
    assert "notes: no samples of a persona task" in done.stderr
    done = persona_bench(*board, "--sort-by", "fame", cwd=results, ok=False)
    assert "--sort-by fame is unknown: use one of worst" in done.stderr


def test_a_run_without_a_scored_response_ends_with_exit_code_1(results: Path) -> None:
    folder = run_of_another_model(results, "unscored")
    (samples,) = folder.rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    for row in rows:
        row["acc"] |= {"verdict": "unscored", "reason": "api_error"}
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = persona_bench("score", "unscored", "--no-page", cwd=results, ok=False, columns=400)
    assert done.returncode == 1
    assert "every response is unscored (180 api_error)" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((folder / "scores").glob("*_stability.json"))


def test_compare_refuses_other_generation_settings(results: Path) -> None:
    folder = run_of_another_model(results, "sampled")
    (file,) = folder.rglob("results_*.json")
    record = json.loads(file.read_text())
    told = record["configs"]["persona_arithmetic"]["generation_kwargs"]
    told |= {"do_sample": True, "temperature": 0.8}
    file.write_text(json.dumps(record))
    done = persona_bench("compare", "out", "sampled", cwd=results, ok=False, columns=400)
    assert done.returncode == 1
    assert "different settings (temperature 0.0 and 0.8)" in done.stderr
    again = ("compare", "out", "sampled", "--allow-different-generation", "--out", "allowed")
    done = persona_bench(*again, "--no-page", cwd=results, columns=400)
    assert "Note: generated under different settings: temperature 0.0 and 0.8" in done.stdout
    stored = json.loads((results / "allowed/persona_arithmetic_comparison.json").read_text())
    assert "temperature 0.0 and 0.8" in stored["notes"][0]


def test_compare_refuses_other_prompts(results: Path) -> None:
    run_of_another_model(results, "reworded", system="You are somebody else.")
    done = persona_bench("compare", "out", "reworded", cwd=results, ok=False, columns=400)
    assert done.returncode == 1
    assert "prompts differ in 180 of 180 cells" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "absent"], "no such folder or file"),
        (["score", "."], "no samples of a persona task"),
        (["personas", "show", "cora"], "did you mean 'core'?"),
        (["personas", "check", "absent.yaml"], "no such file"),
        (
            ["run", "--tasks", "persona_maths"],
            "did you mean 'persona_math500'?",
        ),
        (["run", "--metadata", "{broken"], "is not a JSON object"),
    ],
)
def test_an_error_is_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = persona_bench(*arguments, cwd=tmp_path, ok=False, columns=400)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: ")


def test_sets_are_listed_shown_and_checked(tmp_path: Path) -> None:
    listed = persona_bench("personas", "list", cwd=tmp_path).stdout
    assert all(name in listed for name in ("demo", "core", "wide", "train"))
    shown = persona_bench("personas", "sample", "core", "--kinds", "harmful", cwd=tmp_path).stdout
    harmful = [p.id for p in load_persona_set("core") if p.kind == "harmful"]
    assert all(name in shown for name in harmful)
    assert "maths-professor" not in shown
    own = tmp_path / "mine.yaml"
    own.write_text(
        "name: m\nversion: 1\ndescription: d\npersonas:\n  - {id: a, kind: x, prompt: y}\n"
    )
    done = persona_bench("personas", "check", own, cwd=tmp_path, ok=False)
    assert f"{own}:5: unknown kind 'x'" in done.stderr.replace("\n", "")


@pytest.mark.slow
def test_the_demo_on_the_real_model(smollm2: Path, tmp_path: Path) -> None:
    done = persona_bench("demo", "--questions", "4", cwd=tmp_path, columns=80)
    stored, fresh = done.stdout.split("First answers: right of 3 questions")
    assert "UNDETERMINED  accuracy 0.12 (school-leaver +1) to 0.22" in stored
    assert "Asked: 160 questions × 16 personas" in stored
    assert "persona_arithmetic: 4 questions × 6 personas, 24 responses" in done.stderr
    assert "24/24" in done.stderr.replace("\r", "\n")  # a progress bar
    assert "Warning" not in done.stderr
    assert "Asked: 4 questions × 6 personas" in fresh
    page = tmp_path / "demo-results/scores/index.html"
    assert f"The page: {page.as_uri()}" in fresh
    assert fresh.count("persona-bench ") == 3  # commands to try next
    assert max(map(len, stored.splitlines())) <= 80
    for name in ("accuracy.png", "accuracy.pdf", "lottery.png"):
        assert (tmp_path / f"demo-results/scores/persona_arithmetic_{name}").stat().st_size > 5000
