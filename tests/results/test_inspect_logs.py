"""Logs of inspect_ai, made by inspect_ai itself; and our own tasks in it.

The library wants another fsspec than the pinned one: `make inspect` installs it by itself, and
these tests then run there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_bench import read_outcomes
from persona_bench.report.export import export
from persona_bench.results.other_run import Choice
from persona_bench.results.runs import read_folder
from persona_bench.results.samples import OutcomesError
from tests.conftest import ROOT

FOLDER = ROOT / ".venv-inspect"
HERE = importlib.util.find_spec("inspect_ai") is not None
inside = pytest.mark.skipif(not HERE, reason="inspect_ai is not installed here")


@pytest.mark.slow
@pytest.mark.skipif(HERE, reason="inspect_ai is installed here")
@pytest.mark.skipif(not (FOLDER / ".installed").is_file(), reason="make inspect was not run")
def test_in_the_environment_of_inspect_ai() -> None:
    line = [FOLDER / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(HERE, reason="inspect_ai is installed here")
def test_without_the_library_a_log_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "a.eval").write_bytes(b"")
    with pytest.raises(OutcomesError, match=r"a\.eval: .* pip install inspect_ai"):
        read_outcomes(tmp_path)


Answer = Callable[[str, str], tuple[str, str]]
"""From the system message and the question to a response and how it ended."""


def ask(task: Any, answer: Answer, folder: Path, **settings: Any) -> Any:
    """Runs a task with inspect_ai's mock model; returns the log."""
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def respond(messages: Any, tools: Any, choice: Any, config: Any) -> Any:
        system = "\n\n".join(each.text for each in messages if each.role == "system")
        text, stop = answer(system, messages[-1].text)
        output = ModelOutput.from_content("mockllm/model", text, stop_reason=stop)  # type: ignore[arg-type]
        output.usage = ModelUsage(input_tokens=1, output_tokens=7, total_tokens=8)
        return output

    model = get_model("mockllm/model", custom_outputs=respond, memoize=False)
    (log,) = inspect_eval(
        task, model=model, log_dir=str(folder), display="none", fail_on_error=False, **settings
    )
    return log


def sums(*before: Any, **more: Any) -> Any:
    """Three sums with two scorers, one of which gives two values."""
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import Score, match, mean, scorer
    from inspect_ai.solver import generate

    @scorer(metrics={"*": [mean()]})
    def parts() -> Any:
        async def score(state: Any, target: Any) -> Any:
            half = 0.5 if "Arr" in state.output.completion else 1.0
            return Score(value={"half": half, "length": len(state.output.completion)})

        return score

    data = [
        Sample(id=f"q{n}", input=f"{n} + 1?", target=str(n + 1), metadata={"level": "easy", **more})
        for n in range(3)
    ]
    return Task(name="sums", dataset=data, solver=[*before, generate()], scorer=[match(), parts()])


def pirate_is_worse(system: str, question: str) -> tuple[str, str]:
    number = int(question.split()[0])
    if "fails" in system:
        raise RuntimeError("the endpoint is gone")
    if "pirate" in system and number:
        return "Arr, many", "max_tokens"
    return f"It is {number + 1}", "stop"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of one task under two system messages and under none, in both formats."""
    from inspect_ai.solver import system_message

    folder = tmp_path_factory.mktemp("logs")
    for text, form in (("", "eval"), ("You are a pirate.", "json"), ("It fails.", "eval")):
        before = [system_message(text)] if text else []
        task = sums(*before, role=text.rpartition(" ")[2] or "nobody")
        settings = {"log_format": form, "epochs": 2, "temperature": 0.5}
        ask(task, pirate_is_worse, folder, task_args={}, **settings)
    return folder


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@inside
@pytest.mark.usefixtures("quiet")
def test_system_messages_are_personas_and_epochs_samples(logs: Path) -> None:
    (run,) = read_folder(logs, asked=True)
    assert run.model == "mockllm/model"
    table = run.outcomes["sums"].set_index(["persona", "question", "sample"])
    assert len(table) == 18
    pirates = table.loc["you-are-a-pirate"]
    assert pirates["verdict"].tolist().count("correct") == 2
    assert set(pirates.loc["q1", "reason"]) == {"truncated"}
    assert set(pirates["finish"]) == {"length", "stop"}
    assert set(table.loc["none", "verdict"]) == {"correct"}
    assert set(table.loc["none", "kind"]) == {"control"}
    assert set(table["level"]) == {"easy"}
    assert set(table["tokens"]) == {"7", ""}
    assert set(table.loc["it-fails", "verdict"]) == {"unscored"}
    assert set(table.loc["it-fails", "reason"]) == {"sample_error"}
    assert json.loads(table["generation"].iloc[0]) == {"temperature": 0.5, "samples": 2}
    assert set(table["grader"]) == {"inspect_ai: match"}


@inside
@pytest.mark.usefixtures("quiet")
def test_the_persona_may_stand_in_metadata_and_another_scorer_may_count(logs: Path) -> None:
    table = read_outcomes(logs, Choice(persona_from="metadata:role", metric="parts/half"))
    assert set(table["persona"]) == {"nobody", "pirate.", "fails."}
    pirates = table[table["persona"] == "pirate."].set_index("question")["score"]
    assert pirates.groupby("question").mean().to_dict() == {"q0": 1.0, "q1": 0.5, "q2": 0.5}
    with pytest.raises(OutcomesError, match=r"sample q0, epoch 1: parts/length is .* --metric"):
        read_outcomes(logs, Choice(metric="parts/length"))
    with pytest.raises(OutcomesError, match=r"no scorer 'f1': use --metric match or parts"):
        read_outcomes(logs, Choice(metric="f1"))
    with pytest.raises(OutcomesError, match=r"no 'name' there \(it has level, role\)"):
        read_outcomes(logs, Choice(persona_from="metadata:name"))
    with pytest.raises(OutcomesError, match=r"task_arg:name: no 'name' there \(it has none\)"):
        read_outcomes(logs, Choice(persona_from="task_arg:name"))


@inside
@pytest.mark.usefixtures("quiet")
def test_a_persona_may_be_an_argument_of_the_task(tmp_path: Path) -> None:
    from inspect_ai import task

    @task
    def argued(persona: str) -> Any:
        return sums()

    for persona in ("none", "bard"):
        ask(argued(persona=persona), pirate_is_worse, tmp_path)
    table = read_outcomes(tmp_path, Choice(persona_from="task_arg:persona"))
    assert table.groupby("persona")["correct"].sum().to_dict() == {"bard": 3.0, "none": 3.0}


@inside
@pytest.mark.usefixtures("quiet")
def test_logs_of_different_questions_are_refused(tmp_path: Path) -> None:
    from inspect_ai.solver import system_message

    ask(sums(), pirate_is_worse, tmp_path)
    other = sums(system_message("You are a clerk."))
    other.dataset[1].input = "7 + 1?"
    ask(other, pirate_is_worse, tmp_path)
    with pytest.raises(OutcomesError, match="sums: sample q1 asks something else under"):
        read_outcomes(tmp_path)


@inside
@pytest.mark.usefixtures("quiet")
def test_one_log_may_cross_questions_and_personas(tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    data = [
        Sample(
            id=f"{who}-{n}",
            input=[ChatMessageSystem(content=who), ChatMessageUser(content=f"{n} + 1?")],
            target=str(n + 1),
        )
        for who in ("a pirate", "a clerk")
        for n in range(2)
    ]
    crossed = Task(name="crossed", dataset=data, solver=generate(), scorer=match())
    ask(crossed, pirate_is_worse, tmp_path)
    table = read_outcomes(tmp_path).set_index(["persona", "question"])["correct"]
    assert table.to_dict() == {
        ("a-pirate", "a clerk-0"): 1.0,
        ("a-pirate", "a clerk-1"): 0.0,
        ("a-clerk", "a clerk-0"): 1.0,
        ("a-clerk", "a clerk-1"): 1.0,
    }


@inside
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["persona_arithmetic", "persona_math500"])
def test_our_task_gives_the_verdicts_of_our_own_grader(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from persona_bench.harness.grade_finished import grade
    from persona_bench.harness.inspect_tasks import PREFIX
    from persona_bench.harness.tasks import build_documents, knobs_of

    knobs: dict[str, Any] = {"persona_set": "demo", "n_questions": 6}
    if name == "persona_math500":
        knobs["data_dir"] = str(request.getfixturevalue("data_dir"))
    configured, benchmark = knobs_of(knobs, name.removeprefix("persona_"))
    docs = list(build_documents(configured, benchmark)["test"])
    said = {}
    for n, doc in enumerate(docs):
        right = f"So the answer is \\boxed{{{doc['answer']}}}, matey."
        said[doc["system"], doc["prompt"]] = (
            (right, "stop"),
            (right[:20], "max_tokens"),
            ("I'd rather not.", "stop"),
            ("It is 3 apples, or 17.", "stop"),
            ("", "content_filter"),
        )[n % 5]
    log = ask(
        f"persona_bench/{name}",
        lambda system, question: said[system, question],
        tmp_path,
        task_args=knobs,
    )
    assert PREFIX in ("", "persona_bench/")
    assert log.status == "success"
    ends = {"max_tokens": "length"}
    responses = [said[doc["system"], doc["prompt"]] for doc in docs]
    wanted = grade(
        benchmark,
        [text for text, _ in responses],
        [doc["answer"] for doc in docs],
        [ends.get(stop, stop) for _, stop in responses],
    )
    (run,) = read_folder(tmp_path, asked=True)
    table = run.outcomes[name].set_index(["question", "persona"])
    found = [table.loc[(doc["question"], doc["persona"])] for doc in docs]
    assert [(r["verdict"], r["reason"], r["route"]) for r in found] == [
        (verdict.verdict, verdict.reason, verdict.route) for verdict in wanted
    ]
    assert {verdict.verdict for verdict in wanted} == {"correct", "wrong"}
    assert set(table["grader"]) == {benchmark.grader}
    shares = {each.name: each.value for each in log.results.scores[0].metrics.values()}
    assert shares["accuracy"] == pytest.approx(table["correct"].mean())
    assert shares["pirate"] == pytest.approx(table.xs("pirate", level=1)["correct"].mean())


@inside
@pytest.mark.usefixtures("quiet")
def test_a_knob_that_is_none_is_refused(tmp_path: Path) -> None:
    from persona_bench.harness.documents import KnobError
    from persona_bench.harness.inspect_tasks import persona_arithmetic

    with pytest.raises(KnobError, match="did you mean 'persona_set'"):
        persona_arithmetic(persona_sett="demo")
    with pytest.raises(KnobError, match="use --epochs"):
        persona_arithmetic(samples=4)


@inside
@pytest.mark.usefixtures("quiet")
def test_what_is_exported_is_of_the_schema_of_every_eval_ever(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jsonschema

    spec = importlib.util.find_spec("every_eval_ever")
    assert spec is not None
    assert spec.origin is not None
    schemas = Path(spec.origin).parent / "schemas"
    of_log, of_line = (
        json.loads((schemas / f"{name}.schema.json").read_text())
        for name in ("eval", "instance_level_eval")
    )
    export(read_folder(logs, asked=True), tmp_path / "mine.eee")
    (file,) = (tmp_path / "mine.eee").rglob("*.json")
    log = json.loads(file.read_text())
    jsonschema.validate(log, of_log)
    assert of_log["version"] == log["schema_version"]
    samples = tmp_path / "mine.eee" / log["detailed_evaluation_results"]["file_path"]
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        jsonschema.validate(line, of_line)
    assert len(lines) == 12  # those of the persona that failed are not scored
    results = {each["evaluation_result_id"]: each for each in log["evaluation_results"]}
    pirate = results["sums/you-are-a-pirate"]["score_details"]
    assert pirate["score"] == pytest.approx(1 / 3)
    assert pirate["details"]["system_prompt"] == "You are a pirate."
    assert {line["evaluation_result_id"] for line in lines} <= set(results)
    assert results["sums/pss"]["score_details"]["score"] == pytest.approx(1 / 3)
    # its own validator, which asks for more than the schema does
    monkeypatch.chdir(tmp_path / "mine.eee")
    from every_eval_ever.cli import main

    assert main(["validate", "data/*/*/*/*.json*"]) == 0
