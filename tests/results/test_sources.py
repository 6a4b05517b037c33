"""Results of other programs, as the tidy table: tables, plain lm-eval runs, NeMo-Skills outputs."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import pandas as pd
import pytest
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from typer.testing import CliRunner

from persona_bench import cli, read_outcomes
from persona_bench.cli import app
from persona_bench.report.gate import gate_runs
from persona_bench.results.other_run import Choice, persona_of
from persona_bench.results.runs import read_folder, read_runs
from persona_bench.results.samples import OutcomesError
from tests.results.test_runs import WHOLE, write_run
from tests.support.answering_model import Answering
from tests.support.local_tasks import write_tasks

ROWS = [
    {"persona": persona, "question": question, "correct": right}
    for persona, right in (("none", 1), ("None", 0))
    for question in ("q1", "q2")
]
SHOWN = ["persona", "question", "sample", "verdict", "correct"]


def command(*arguments: Any) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def write_table(file: Path, rows: list[dict[str, Any]]) -> Path:
    table = pd.DataFrame(rows)
    if file.suffix == ".parquet":
        table.to_parquet(file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    else:
        table.to_csv(file, index=False)
    return file


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".jsonl"])
def test_a_table_is_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    file = write_table(tmp_path / f"new{suffix}", [*ROWS, ROWS[0]])
    table = read_outcomes(file)
    assert set(table["model"]) == {"new"}
    assert table[SHOWN].values.tolist() == [
        ["none", "q1", 0, "correct", 1.0],
        ["none", "q2", 0, "correct", 1.0],
        ["None", "q1", 0, "wrong", 0.0],
        ["None", "q2", 0, "wrong", 0.0],
        ["none", "q1", 1, "correct", 1.0],
    ]


def test_words_and_empty_cells_are_verdicts(tmp_path: Path) -> None:
    words = ["TRUE", "false", "Correct", "wrong", "1.0", "0", "", "NaN"]
    rows = [{"persona": "a", "question": str(n), "correct": word} for n, word in enumerate(words)]
    table = read_outcomes(write_table(tmp_path / "t.csv", rows))
    assert table["correct"].tolist()[:6] == [1, 0, 1, 0, 1, 0]
    assert table["verdict"].tolist()[6:] == ["unscored", "unscored"]


def test_the_verdicts_of_a_tidy_table_are_enough(tmp_path: Path) -> None:
    verdicts = ["correct", "wrong", "unscored"]
    rows = [
        {"persona": "a", "question": f"q{i}", "verdict": verdict, "reason": ""}
        for i, verdict in enumerate(verdicts)
    ]
    table = read_outcomes(write_table(tmp_path / "t.csv", rows))
    assert table["verdict"].tolist() == verdicts
    assert table["correct"].tolist()[:2] == [1, 0]
    rows[1]["verdict"] = "scored"  # a score between 0 and 1, which is not there
    with pytest.raises(OutcomesError, match=r"t\.csv:3: verdict is 'scored'"):
        read_outcomes(write_table(tmp_path / "t.csv", rows))


def test_scores_are_kept_beside_verdicts(tmp_path: Path) -> None:
    rows = [{"persona": "a", "question": str(n), "score": n / 2} for n in range(3)]
    table = read_outcomes(write_table(tmp_path / "t.parquet", rows))
    assert table["score"].tolist() == [0, 0.5, 1]
    assert table["verdict"].tolist() == ["wrong", "scored", "correct"]
    assert math.isnan(table["correct"][1])


def test_a_table_of_several_models_and_tasks_is_several_runs(tmp_path: Path) -> None:
    rows = [
        {**row, "model": model, "task": task, "level": "easy"}
        for model in ("org/a", "org/b")
        for task in ("sums", "verse")
        for row in ROWS
    ]
    runs = read_runs([write_table(tmp_path / "t.csv", rows)])
    assert [(run.model, list(run.outcomes)) for run in runs] == [
        ("org/a", ["sums", "verse"]),
        ("org/b", ["sums", "verse"]),
    ]
    assert set(runs[1].outcomes["verse"]["level"]) == {"easy"}


def test_methods_and_seeds_of_a_table_are_compared_and_ranked(tmp_path: Path) -> None:
    rows = [
        {"method": method, "seed": seed, "persona": persona, "question": n, "correct": int(right)}
        for method, share in (("rlvr", 3), ("permix", 2))
        for seed in (1, 2, 3)
        for persona in ("none", "pirate")
        for n in range(20)
        for right in [(n + seed) % share == 0]
    ]
    file = write_table(tmp_path / "t.csv", rows)
    runs = read_runs([file])
    assert [run.checkpoint for run in runs][:2] == [("rlvr", "1"), ("rlvr", "2")]
    assert len(runs) == 6
    assert "permix" in command("compare", "--by-method", file, "--json")
    ranked = command("leaderboard", file)
    assert ranked.index("permix") < ranked.index("rlvr")
    same_name = write_table(tmp_path / "m.csv", [{**row, "model": "m"} for row in rows])
    assert [run.name for run in read_runs([same_name])] == [run.name for run in runs]


def test_a_page_of_a_table_without_responses_is_whole(tmp_path: Path) -> None:
    rows = [{**row, "question": f"{row['question']}{n}"} for n in range(5) for row in ROWS]
    file = write_table(tmp_path / "t.csv", rows)
    assert "UNDETERMINED" in command("score", file) or "UNSTABLE" in command("score", file)
    assert (tmp_path / "scores" / "index.html").is_file()


GOOD = {"persona": "a", "question": "q", "correct": "1"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"persona": "a", "correct": 1}], r"t\.csv:1: no column question .*persona, correct"),
        ([{"Persona": "a", "question": "q", "correct": 1}], "rename 'Persona'"),
        ([{"persona": "a", "question": "q"}], "no column correct or score"),
        ([GOOD, {**GOOD, "correct": "0.5"}], r"t\.csv:3: correct is '0.5': call the column score"),
        ([GOOD, {**GOOD, "correct": "perhaps"}], r"t\.csv:3: correct is 'perhaps'"),
        ([{**GOOD, "question": "two\nlines"}, {**GOOD, "persona": ""}], r"t\.csv:4: .*no persona"),
        ([{**GOOD, "score": "0"}], r"t\.csv:2: correct is 1, but score is 0"),
        ([{"persona": "a", "question": "q", "score": "1.5"}], r"t\.csv:2: score is '1.5'"),
        ([{**GOOD, "sample": "0"}, {**GOOD, "sample": "0"}], r"t\.csv:3: .* the second time"),
        ([{**GOOD, "sample": "one"}], r"t\.csv:2: sample is 'one'"),
        ([{"persona": "a", "question": "q", "score": "85%"}], r"'85%': write .*0\.85 for 85%"),
        ([GOOD, {**GOOD, "kind": "Placebos"}], r"t\.csv:3: kind is 'placebos': write 'placebo'"),
        ([{"persona;question;correct": "a;q;1"}], "separate the columns by commas"),
        ([{**GOOD, " persona": "b"}], "two columns are called 'persona'"),
    ],
)
def test_a_wrong_table_is_told_by_line_and_mend(
    tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(OutcomesError, match=said):
        read_outcomes(write_table(tmp_path / "t.csv", rows))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"persona": "a", "question": "q", "correct": true}\n\n{"persona": \n')
    with pytest.raises(OutcomesError, match=r"t\.jsonl:3: not JSON"):
        read_outcomes(file)


def test_names_have_no_space_around_them_and_words_no_case(tmp_path: Path) -> None:
    rows = [
        {"persona": "a ", " question": " q", "correct": "Yes", "kind": "Placebo"},
        {"persona": "a", " question": "q", "correct": "no", "kind": " placebo"},
    ]
    found = read_outcomes(write_table(tmp_path / "t.csv", rows))
    assert list(found["persona"]) == ["a", "a"]
    assert list(found["question"]) == ["q", "q"]
    assert list(found["sample"]) == [0, 1]
    assert list(found["kind"]) == ["placebo", "placebo"]
    assert list(found["correct"]) == [1, 0]


def test_personas_that_differ_in_case_alone_are_told(tmp_path: Path) -> None:
    rows = [{**GOOD, "persona": persona} for persona in ("pirate", "Pirate", "None")]
    file = write_table(tmp_path / "t.csv", rows)
    with (
        pytest.warns(UserWarning, match="'Pirate' counts as another than 'pirate'"),
        pytest.warns(UserWarning, match="'None' counts as another than 'none', the control"),
    ):
        assert read_outcomes(file)["persona"].nunique() == 3


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_files_of_other_systems_are_read_or_told(tmp_path: Path, suffix: str) -> None:
    unix = write_table(tmp_path / f"t{suffix}", ROWS)
    expected = read_outcomes(unix)
    text = unix.read_bytes()
    windows = tmp_path / "windows" / unix.name
    windows.parent.mkdir()
    windows.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_outcomes(windows), expected)
    unix.write_bytes(text.replace(b"none", b"n\xf6ne"))
    with pytest.raises(OutcomesError, match=f"t{suffix}: not UTF-8 .*: save it as UTF-8"):
        read_outcomes(unix)


def test_gate_and_compare_take_tables(tmp_path: Path) -> None:
    rows = [{**row, "question": f"{row['question']}{n}"} for n in range(400) for row in ROWS]
    base, new = (write_table(tmp_path / f"{name}.csv", rows) for name in ("base", "new"))
    (gate,) = gate_runs(base, new, {"margin": 0.05}).values()
    assert {each.name: each.verdict for each in gate.criteria}["mean accuracy"] == "pass"
    named = write_table(tmp_path / "named.csv", [{**row, "task": "sums"} for row in rows])
    assert list(gate_runs(base, named, {})) == list(gate_runs(named, base, {})) == ["sums"]
    said = json.loads(command("compare", base, new, "--no-page", "--json"))
    assert '"mean"' in json.dumps(said)


def test_the_page_of_a_comparison_opens_with_the_verdict_cards(tmp_path: Path) -> None:
    rows = [{**row, "question": f"{row['question']}{n}"} for n in range(10) for row in ROWS]
    base, new = (write_table(tmp_path / f"{name}.csv", rows) for name in ("base", "new"))
    command("compare", base, new, "--out", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    main = page[page.index("<main") :]
    assert main.index('class="verdicts"') < main.index('class="table"')
    assert main.index('class="verdicts"') < main.index("All models</h2>")


# ---------------------------------------------------------------------- export


def test_a_run_that_is_written_as_a_table_is_read_as_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "org/m", "sums", WHOLE)
    for name in ("table.csv", "table.parquet"):
        command("score", tmp_path / "run", "--out", tmp_path / name)
        for asked in (False, True):
            (before,), (after,) = (
                read_folder(path, asked=asked) for path in (tmp_path / "run", tmp_path / name)
            )
            pd.testing.assert_frame_equal(before.outcomes["sums"], after.outcomes["sums"])
    assert not (tmp_path / "run" / "scores").exists()


# ---------------------------------------------------------------------- plain lm-eval

TASKS = ("local_sums", "local_choice", "local_next", "local_digits", "local_votes")
PERSONAS = {"": "none", "You are a pirate.\nYou love the sea.": "you-are-a-pirate-you-love-the-sea"}
HEADLINES = {
    "local_sums": "exact_match,strict",
    "local_choice": "acc,none",
    "local_next": "acc,none",  # not perplexity, of which lower is better
    "local_digits": "digits,none",  # neither a pair nor the length
    "local_votes": "exact_match,majority",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folders of lm-eval itself, one for each system instruction."""
    assert Answering
    root = tmp_path_factory.mktemp("plain")
    write_tasks(root / "tasks", most=400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        for number, instruction in enumerate(PERSONAS):
            tracker = EvaluationTracker(output_path=str(root / "out" / str(number)))
            manager = TaskManager(include_path=str(root / "tasks"), include_defaults=False)
            results = lm_eval.simple_evaluate(
                model="answering",
                model_args={"pretrained": "org/answering"},
                tasks=list(TASKS),
                task_manager=manager,
                system_instruction=instruction or None,
                apply_chat_template=True,
                fewshot_as_multiturn=True,
                evaluation_tracker=tracker,
                bootstrap_iters=0,
            )
            samples = results.pop("samples")
            tracker.save_results_aggregated(results=results, samples=samples)
            for task, each in samples.items():
                tracker.save_results_samples(task_name=task, samples=each)
    return root / "out"


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def own_figures(plain: Path, metrics: dict[str, str]) -> dict[tuple[str, str], float]:
    """What lm-eval itself says of each task under each instruction."""
    found = {}
    for file in plain.rglob("results_*.json"):
        results = json.loads(file.read_text())
        persona = PERSONAS[results["system_instruction"] or ""]
        for task, metric in metrics.items():
            found[task, persona] = results["results"][task][metric]
    return found


@pytest.mark.usefixtures("quiet")
def test_system_instructions_are_personas_and_lm_evals_own_figures_come_out(plain: Path) -> None:
    (run,) = read_folder(plain, asked=True)
    assert run.model == "org/answering"
    means = {
        (task, persona): rows["score"].mean()
        for task, table in run.outcomes.items()
        for persona, rows in table.groupby("persona")
    }
    assert means == pytest.approx(own_figures(plain, HEADLINES))
    assert len({round(value, 6) for value in means.values()}) > 4
    sums = run.outcomes["local_sums"]
    assert set(sums["grader"]) == {"lm-eval: exact_match,strict"}
    assert set(sums["kind"]) == {"control", ""}
    pirates = sums[sums["persona"] != "none"]
    assert all("You love the sea." in context for context in pirates["context"])
    assert sums["prompt"].str.startswith("What is").all()
    scored = run.outcomes["local_digits"]
    assert "scored" in set(scored["verdict"])
    choices = run.outcomes["local_choice"]["response"]
    assert choices.str.fullmatch(r"-?\d+").all()


@pytest.mark.usefixtures("quiet")
def test_another_metric_can_be_chosen_where_a_task_has_it(plain: Path) -> None:
    (run,) = read_folder(plain, choice=Choice(metric="exact_match,flexible"))
    chosen = {**HEADLINES, "local_sums": "exact_match,flexible"}
    for (task, persona), value in own_figures(plain, chosen).items():
        table = run.outcomes[task]
        assert table[table["persona"] == persona]["score"].mean() == pytest.approx(value)
    with pytest.raises(OutcomesError, match=r"no metric bleu.*use --metric with one of acc,none"):
        read_folder(plain, choice=Choice(metric="bleu"))


def test_what_was_chosen_and_what_is_unknown_is_said_once(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("showwarning", "filters"):
        monkeypatch.setattr(warnings, name, getattr(warnings, name))
    monkeypatch.setattr(cli, "_shown", set())
    line = ["persona-bench", "compare", f"a={plain}", f"b={plain}", "--no-page", "--json"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("do not say how responses ended") == 1
    assert said.count("local_next: scored by acc,none") == 1


@pytest.mark.usefixtures("quiet")
def test_several_files_are_scored_as_one(plain: Path, tmp_path: Path) -> None:
    files = sorted(plain.rglob("samples_local_sums_*.jsonl"))
    said = command("score", *files, "--out", tmp_path / "scores")
    assert "local_sums" in said
    page = (tmp_path / "scores" / "local_sums_personas.csv").read_text()
    assert "you-are-a-pirate-you-love-the-sea" in page
    assert (tmp_path / "scores" / "index.html").is_file()


@pytest.mark.usefixtures("quiet")
def test_the_newest_of_two_runs_with_one_instruction_counts(plain: Path, tmp_path: Path) -> None:
    (file,) = (plain / "0").rglob("samples_local_sums_*.jsonl")
    (results,) = (plain / "0").rglob("results_*.json")
    date = "2099-01-01T00-00-00.000000"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    newer = "".join(json.dumps({**line, "exact_match": 0.0}) + "\n" for line in lines)
    for folder, name, text in (
        ("old", file.name, file.read_text()),
        ("old", results.name, results.read_text()),
        ("new", f"samples_local_sums_{date}.jsonl", newer),
        ("new", f"results_{date}.json", results.read_text()),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    assert read_outcomes(tmp_path)["correct"].tolist() == [0.0] * 6
    (tmp_path / "new" / f"results_{date}.json").unlink()
    with pytest.raises(OutcomesError, match=r"results_2099.* is gone .* the system instruction"):
        read_outcomes(tmp_path)


def test_an_instruction_that_a_template_dropped_is_told(plain: Path, tmp_path: Path) -> None:
    (file,) = (plain / "1").rglob("samples_local_sums_*.jsonl")
    (results,) = (plain / "1").rglob("results_*.json")
    (tmp_path / results.name).write_text(results.read_text())
    (tmp_path / file.name).write_text(file.read_text().replace("You love the sea.", "Hm."))
    with pytest.warns(UserWarning, match="6 of 6 prompts lack the system instruction"):
        read_outcomes(tmp_path)


def test_other_documents_and_other_settings_are_told(plain: Path, tmp_path: Path) -> None:
    for number, text in enumerate(PERSONAS):
        (file,) = (plain / str(number)).rglob("samples_local_sums_*.jsonl")
        (results,) = (plain / str(number)).rglob("results_*.json")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        told = json.loads(results.read_text())
        if text:
            lines[0]["doc_hash"] = "another"
            told["n-shot"]["local_sums"] = 5
        (tmp_path / file.name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / results.name).write_text(json.dumps(told))
    with (
        pytest.warns(UserWarning, match="1 of 6 documents .* are not those of another one"),
        pytest.warns(UserWarning, match="differ in their few-shot examples as well as in"),
    ):
        read_outcomes(tmp_path)


def test_a_task_without_a_metric_per_document_is_left_out(plain: Path, tmp_path: Path) -> None:
    for task in ("local_sums", "local_choice"):
        (file,) = (plain / "0").rglob(f"samples_{task}_*.jsonl")
        (results,) = (plain / "0").rglob("results_*.json")
        (tmp_path / file.name).write_text(file.read_text())
        told = json.loads(results.read_text())
        told["higher_is_better"]["local_choice"] = {"acc": False, "acc_norm": False}
        (tmp_path / results.name).write_text(json.dumps(told))
    with pytest.warns(UserWarning, match="left out: .*local_choice.*no metric gives each"):
        assert set(read_outcomes(tmp_path)["task"]) == {"local_sums"}


def test_a_cut_off_samples_file_is_named_with_its_line(plain: Path, tmp_path: Path) -> None:
    (file,) = (plain / "0").rglob("samples_local_choice_*.jsonl")
    (results,) = (plain / "0").rglob("results_*.json")
    (tmp_path / results.name).write_text(results.read_text())
    (tmp_path / file.name).write_text(file.read_text()[:-300])
    with pytest.raises(OutcomesError, match=r"samples_local_choice_.*jsonl:6: not a sample"):
        read_outcomes(tmp_path)


def test_a_persona_is_called_by_its_set_or_by_its_first_words() -> None:
    from persona_bench.personas import load_persona_set

    expert = next(each for each in load_persona_set("core") if each.kind == "expert")
    assert persona_of(f" {expert.prompt}\n") == (expert.id, "expert")
    assert persona_of("  ") == ("none", "control")
    assert persona_of("You are a Pirate!") == ("you-are-a-pirate", "")
    long = "You are a very tired clerk who has seen many forms, number "
    assert persona_of(long + "1")[0] != persona_of(long + "2")[0]
    assert persona_of("Du bist müde.")[0].startswith("du-bist-mude-")


# ---------------------------------------------------------------------- NeMo-Skills


def nemo_line(number: int, right: Any, **more: Any) -> dict[str, Any]:
    return {
        "problem": f"What is {number} + 1?",
        "expected_answer": str(number + 1),
        "generation": "It is \\boxed{2}.",
        "predicted_answer": "2",
        "num_generated_tokens": 9,
        "symbolic_correct": right,
        **more,
    }


def write_lines(file: Path, lines: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("layout", ["model/gsm8k/{}/", "model/{}/eval-results/gsm8k/"])
def test_prompts_of_nemo_skills_are_personas_and_seeds_samples(tmp_path: Path, layout: str) -> None:
    for prompt in ("pirate", "none"):
        for seed in (0, 1):
            lines = [nemo_line(n, prompt == "none" or n == seed) for n in range(3)]
            lines[2]["predicted_answer"] = None
            write_lines(tmp_path / layout.format(prompt) / f"output-rs{seed}.jsonl", lines)
    (run,) = read_folder(tmp_path / "model", asked=True)
    assert run.name == "model"
    folders = {file.parent for file in tmp_path.rglob("*.jsonl")}
    (same,) = read_folder(*sorted(folders), asked=True)
    pd.testing.assert_frame_equal(
        same.outcomes["gsm8k"].drop(columns="model").sort_values(SHOWN[:3], ignore_index=True),
        run.outcomes["gsm8k"].drop(columns="model").sort_values(SHOWN[:3], ignore_index=True),
    )
    table = run.outcomes["gsm8k"].set_index(["persona", "question", "sample"])
    assert len(table) == 12
    assert set(table["grader"]) == {"NeMo-Skills: symbolic_correct"}
    assert table.loc[("pirate", "1", 1), "verdict"] == "correct"
    assert table.loc[("pirate", "2", 0), "reason"] == "no_answer"
    assert table.loc[("pirate", "0", 1), "reason"] == "wrong_answer"
    assert set(table.loc["none", "kind"]) == {"control"}
    assert table.loc[("none", "1", 0), "prompt"] == "What is 1 + 1?"


JUDGED = "Reasoning: the same number.\nJudgement: "


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("fields", "metric", "values"),
    [
        ({"judgement": [f"{JUDGED}Yes", f"{JUDGED}No"]}, "judgement", [1, 0]),
        ({"graded_list": [[True], [False]]}, "", [1, 0]),
        ({"is_correct": [0.25, 1]}, "", [0.25, 1]),
        (
            {"strict_eval": [{"follow_all_instructions": each} for each in (True, False)]},
            "",
            [1, 0],
        ),
        ({"status": ["pass", "fail"]}, "", [1, 0]),
    ],
)
def test_every_grade_of_nemo_skills_is_read(
    tmp_path: Path, fields: dict[str, list[Any]], metric: str, values: list[float]
) -> None:
    ((name, each),) = fields.items()
    lines = [{**nemo_line(n, True), name: value} for n, value in enumerate(each)]
    for line in lines if not metric else ():
        del line["symbolic_correct"]
    write_lines(tmp_path / "math" / "none" / "output.jsonl", lines)
    found = read_outcomes(tmp_path, Choice(metric=metric))
    assert found["score"].tolist() == values


def test_outputs_that_can_not_be_read_are_told_by_line_and_mend(tmp_path: Path) -> None:
    lines = [nemo_line(n, True) for n in range(2)]
    for line in lines:
        del line["symbolic_correct"]
    write_lines(tmp_path / "math" / "none" / "output-rs0.jsonl", lines)
    with pytest.raises(OutcomesError, match=r"output-rs0\.jsonl:1: it was not graded: run ns eval"):
        read_outcomes(tmp_path)
    write_lines(tmp_path / "math" / "none" / "output-rs0.jsonl", [nemo_line(0, True)])
    write_lines(tmp_path / "math" / "pirate" / "output-rs0.jsonl", [nemo_line(7, True)])
    with pytest.raises(OutcomesError, match=r"pirate/output-rs0\.jsonl:1: question 0 is not that"):
        read_outcomes(tmp_path)
    with pytest.raises(OutcomesError, match="--persona-from metadata:a can't be used"):
        read_outcomes(tmp_path, Choice(persona_from="metadata:a"))


# ---------------------------------------------------------------------- what a path is


def test_choices_that_a_source_has_not_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "m", "sums", WHOLE)
    with pytest.raises(OutcomesError, match="--metric acc can't be used with a run of a persona"):
        read_outcomes(tmp_path / "run", Choice(metric="acc"))
    table = write_table(tmp_path / "t.csv", ROWS)
    with pytest.raises(OutcomesError, match="--persona-from system can't be used with a table"):
        read_outcomes(table, Choice(persona_from="system"))
    with pytest.raises(OutcomesError, match=r"use system, metadata:KEY or task_arg:KEY"):
        Choice(persona_from="metadata")
    with pytest.raises(OutcomesError, match="different kinds"):
        read_folder(tmp_path / "run", table)
    with pytest.raises(OutcomesError, match="one folder at a time"):
        read_folder(tmp_path / "run", tmp_path / "run")


def test_a_path_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutcomesError, match="no such folder or file"):
        read_outcomes(tmp_path / "absent.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutcomesError, match=r"no samples of a persona task.* one by one"):
        read_outcomes(tmp_path / "empty")
