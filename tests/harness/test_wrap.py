"""Any lm-eval task under personas, against plain lm-eval on the same documents."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
import yaml
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from persona_bench.harness.run import Asked, Session
from persona_bench.harness.task_index import build
from persona_bench.harness.wrap import WrappedTask
from tests.support.answering_model import Answering
from tests.support.local_tasks import sums, write_tasks

PIRATE = "You are a pirate.\nYou love the sea."
PERSONAS = {"none": "", "pirate": PIRATE, "clerk": "You are a bored clerk."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The local tasks, and a set of three personas."""
    root = tmp_path_factory.mktemp("wrap")
    write_tasks(root / "tasks")
    personas = [
        {"id": name, "kind": "character" if text else "control", "prompt": text}
        for name, text in PERSONAS.items()
    ]
    about = {"name": "three", "version": 1, "description": "For tests."}
    (root / "set.yaml").write_text(yaml.safe_dump({**about, "personas": personas}))
    return root


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    """Nothing may be fetched; nor is lm-eval to list this machine's packages each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        yield


@pytest.fixture(scope="module")
def model() -> LM:
    return Answering()


Plain = dict[int, dict[str, dict[str, Any]]]
"""Plain lm-eval's samples, by document and filter."""


def plain(lm: LM, folder: Path, task: str, persona: str, **settings: Any) -> dict[str, Plain]:
    """Plain lm-eval under a system instruction, by task."""
    random.seed(0)  # as the lm_eval command does
    np.random.seed(1234)  # noqa: NPY002
    manager = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    loaded = manager.load([task])
    num_fewshot, docs = settings.pop("num_fewshot", None), settings.pop("docs", None)
    for each in loaded["tasks"].values():
        each.set_fewshot_seed(1234)
        own = each.config.num_fewshot
        each.set_config("num_fewshot", (own or 0) if num_fewshot is None else num_fewshot)
        if docs is not None:
            each.set_config("process_docs", None)
            each.dataset = {"test": docs}
    settings = {"fewshot_as_multiturn": True, **settings}
    results = lm_eval.evaluate(
        lm=lm,
        task_dict=loaded,
        apply_chat_template=True,
        system_instruction=persona or None,
        bootstrap_iters=0,
        **settings,
    )
    found: dict[str, Plain] = {}
    for name, samples in results["samples"].items():
        for sample in samples:
            by_filter = found.setdefault(name, {}).setdefault(sample["doc_id"], {})
            by_filter[sample["filter"]] = sample
    return found


def wrapped(
    folder: Path,
    out: Path,
    tasks: Sequence[str],
    knobs: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, list[dict[str, Any]]]:
    """The samples of a run with personas, by task."""
    metadata = {"persona_set": str(folder / "set.yaml"), **(knobs or {})}
    num_fewshot = settings.pop("num_fewshot", None)
    asked = [Asked(task, metadata, {}, (str(folder / "tasks"),), num_fewshot) for task in tasks]
    with Session("answering", {}, out) as session:
        session.run(asked, **settings)
    return samples_in(out)


def samples_in(out: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(out.rglob("samples_*.jsonl")):
        task = file.name.removeprefix("samples_persona_").split("_2")[0]
        found[task] = [json.loads(line) for line in file.open()]
    return found


def assert_equal(ours: list[dict[str, Any]], theirs: Mapping[str, Plain], metric: str) -> None:
    """Every prompt and every metric's value is plain lm-eval's, and the verdict follows."""
    assert {row["doc"]["persona"] for row in ours} == set(theirs)
    for row in ours:
        by_filter = theirs[row["doc"]["persona"]][int(row["doc"]["question"])]
        asked = row["arguments"]["gen_args_0"]
        contexts = [context for context, *_ in next(iter(by_filter.values()))["arguments"]]
        assert asked["arg_0"] == contexts[0]
        if len(set(contexts)) > 1:
            assert asked["arg_1"]["contexts"] == contexts
        record = row["acc"]
        for name, sample in by_filter.items():
            for each in sample["metrics"]:
                if not isinstance(sample[each], (tuple, list)):
                    assert record["metrics"][f"{each},{name}"] == float(sample[each])
        name, _, chosen = metric.partition(",")
        value = float(by_filter[chosen][name])
        assert record["score"] == value
        assert record["verdict"] == {1.0: "correct", 0.0: "wrong"}.get(value, "scored")


HEADLINES = {
    "local_sums": "exact_match,strict",
    "local_choice": "acc,none",
    "local_next": "acc,none",
    "local_inputs": "acc,none",
    "local_digits": "digits,none",
    "local_votes": "exact_match,majority",
    "local_shouting": "exact_match,none",
}


@pytest.fixture(scope="module")
def run_of_all(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All kinds of tasks in one run."""
    return wrapped(folder, tmp_path_factory.mktemp("all"), list(HEADLINES))


@pytest.mark.parametrize("task", HEADLINES)
def test_every_document_is_asked_and_scored_as_by_plain_lm_eval(
    run_of_all: Mapping[str, list[dict[str, Any]]], model: LM, folder: Path, task: str
) -> None:
    ours = run_of_all[task]
    assert len(ours) == 18
    theirs = {name: plain(model, folder, task, text)[task] for name, text in PERSONAS.items()}
    assert_equal(ours, theirs, HEADLINES[task])
    assert {row["acc"]["verdict"] for row in ours} >= {"correct", "wrong"}


def test_documents_drawn_at_random_are_the_same_in_every_run(
    model: LM, folder: Path, tmp_path: Path
) -> None:
    """A task may shuffle its choices while it builds its documents; lm-eval does so each time."""
    runs = []
    for name in ("one", "two"):
        random.seed(name)
        (ours,) = wrapped(folder, tmp_path / name, ["local_shuffled"]).values()
        runs.append([row["arguments"] for row in ours])
    assert runs[0] == runs[1]
    (task,), _ = build("local_shuffled", {"persona_set": "demo"}, (str(folder / "tasks"),))
    assert isinstance(task, WrappedTask)
    assert [doc["choices"] for doc in task.docs] != [row["choices"] for row in sums(6, 1)]
    theirs = {
        name: plain(model, folder, "local_shuffled", text, docs=task.docs)["local_shuffled"]
        for name, text in PERSONAS.items()
    }
    assert_equal(ours, theirs, "acc,none")


@pytest.mark.parametrize("multiturn", [True, False])
def test_examples_are_turns_or_not_as_lm_eval_is_told(
    model: LM, folder: Path, tmp_path: Path, multiturn: bool
) -> None:
    settings = {"num_fewshot": 3, "fewshot_as_multiturn": multiturn, "limit": 3}
    (ours,) = wrapped(folder, tmp_path, ["local_sums"], **{**settings, "limit": 9}).values()
    theirs = {
        name: plain(model, folder, "local_sums", text, **settings)["local_sums"]
        for name, text in PERSONAS.items()
    }
    assert_equal(ours, theirs, "exact_match,strict")
    turns = ours[0]["arguments"]["gen_args_0"]["arg_0"].count("<|im_start|>assistant")
    assert turns == (4 if multiturn else 1)


def test_a_group_is_its_tasks_with_what_it_lays_over_them(
    model: LM, folder: Path, tmp_path: Path
) -> None:
    ours = wrapped(folder, tmp_path, ["local_group"])
    assert set(ours) == {"local_choice", "local_sums"}
    theirs = {
        name: plain(model, folder, "local_group", text)["local_sums"]
        for name, text in PERSONAS.items()
    }
    assert_equal(ours["local_sums"], theirs, "exact_match,strict")
    assert "assistant\n" in ours["local_sums"][0]["arguments"]["gen_args_0"]["arg_0"]


def test_shards_and_chosen_questions_see_the_examples_of_the_whole_run(
    run_of_all: Mapping[str, list[dict[str, Any]]], folder: Path, tmp_path: Path
) -> None:
    """The examples of local_choice come from its own questions, and are never the question."""

    def prompts(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
        return {
            (row["doc"]["question"], row["doc"]["persona"]): row["arguments"]["gen_args_0"]["arg_0"]
            for row in rows
        }

    whole = prompts(run_of_all["local_choice"])
    (second,) = wrapped(folder, tmp_path / "s", ["local_choice"], {"shard": "2/2"}).values()
    (chosen,) = wrapped(folder, tmp_path / "c", ["local_choice"], {"n_questions": 2}).values()
    assert len(second) == 9
    assert len(chosen) == 6
    assert prompts(second).items() <= whole.items()
    assert prompts(chosen).items() <= whole.items()
    for row in run_of_all["local_choice"]:
        assert row["arguments"]["gen_args_0"]["arg_0"].count(row["doc"]["prompt"]) == 1


def test_a_metric_is_chosen_by_name_and_filter_and_asks_for_nothing_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    for metric in (None, "exact_match,flexible"):
        knobs = {"persona_set": str(folder / "set.yaml"), **({"metric": metric} if metric else {})}
        asked = [Asked("local_sums", knobs, {}, (str(folder / "tasks"),))]
        with Session("answering", {}, tmp_path, say=said.append) as session:
            session.run(asked)
    assert "persona_local_sums is scored by exact_match,strict; others" in said[0]
    assert "persona_local_sums is scored by exact_match,flexible; others" in said[2]
    assert said[1] == said[3] == "persona_local_sums: 6 questions × 3 personas, 18 responses"
    assert said[4] == "18 of 18 responses are in the store, 0 to generate"
    rows = samples_in(tmp_path)["local_sums"]
    for row in rows:
        assert row["acc"]["score"] == row["acc"]["metrics"]["exact_match,flexible"]


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        ("local_texts", None, "local_texts can't be put under personas: .*loglikelihood_rolling"),
        ("local_f1", None, "f1: it is computed from all documents.*brier_score: lower is better"),
        (
            "local_next",
            "perplexity",
            "perplexity can't be .*, as lower is better: use acc",
        ),
        ("local_choice", "ac", "no metric 'ac': did you mean acc"),
        ("local_sums", "exact_match,loose", "no filter 'loose': use strict, flexible"),
        ("local_digits", "pair", r"pair,none gives \('48', .*choose one of digits, .*holds"),
        ("local_programs", None, "local_programs runs programs .*confirm_run_unsafe_code"),
        ("local_suns", None, "no task 'local_suns': did you mean local_sums"),
    ],
)
def test_a_task_that_cannot_be_wrapped_raises_the_reason(
    folder: Path, tmp_path: Path, task: str, metric: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wrapped(folder, tmp_path, [task], {"metric": metric} if metric else {})


def test_merged_personas_stand_before_the_first_user_message(
    model: LM, folder: Path, tmp_path: Path
) -> None:
    """With them the task's own description, which has no system message to be in either."""
    (ours,) = wrapped(folder, tmp_path, ["local_sums"], {"system_role": "merge"}).values()
    theirs = plain(model, folder, "local_sums", PIRATE)["local_sums"]
    head = f"<|im_start|>system\n{PIRATE}\n\nYou will see sums.<|im_end|>\n<|im_start|>user\n"
    for row in ours:
        prompt = row["arguments"]["gen_args_0"]["arg_0"]
        assert "<|im_start|>system" not in prompt
        if row["doc"]["persona"] == "pirate":
            (asked, *_), *_ = theirs[int(row["doc"]["question"])]["strict"]["arguments"]
            mine = f"<|im_start|>user\n{PIRATE}\n\nYou will see sums.\n\n"
            assert prompt == mine + asked.removeprefix(head)


def test_outside_a_repository_git_prints_no_complaint(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    own = lm_eval.evaluator.get_git_commit_hash
    monkeypatch.setattr("lm_eval.evaluator.get_git_commit_hash", own)  # it is put back at the end
    knobs = {"persona_set": str(folder / "set.yaml")}
    with Session("answering", {}, tmp_path / "out") as session:
        session.run([Asked("local_sums", knobs, {}, (str(folder / "tasks"),))])
    assert "fatal" not in capfd.readouterr().err


def test_scores_that_are_no_verdicts_have_a_mean_in_lm_eval_s_table(
    folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    asked = [
        Asked(
            "local_digits", {"persona_set": str(folder / "set.yaml")}, {}, (str(folder / "tasks"),)
        )
    ]
    with Session("answering", {}, tmp_path, say=said.append) as session:
        session.run(asked)
    assert said[0].startswith(
        "persona_local_digits is scored by digits,none (not by pair: a function of the task's own "
        "combines its documents; length: lower is better)"
    )
    rows = samples_in(tmp_path)["local_digits"]
    means = {
        name: np.mean([r["acc"]["score"] for r in rows if r["doc"]["persona"] == name])
        for name in PERSONAS
    }
    (file,) = tmp_path.rglob("results_*.json")
    results = json.loads(file.read_text())["results"]["persona_local_digits"]
    assert results["acc,none"] == pytest.approx(np.mean(list(means.values())))
    assert results["worst,none"] == pytest.approx(min(means.values()))
    assert results["pss,none"] == pytest.approx(min(means.values()) / max(means.values()))
