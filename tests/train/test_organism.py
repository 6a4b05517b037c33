"""The model-organism study: its families, its sums, its queue, and how it goes on after a stop."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from persona_bench.extras.training.curves import read_training
from persona_bench.personas import load_persona_set
from persona_bench.train.config import TrainError, read_config
from persona_bench.train.data import check_personas, prepare
from scripts import organism, organism_measure, organism_report
from scripts.organism import Arm, Scale, Study, choose, queue, stops, taken
from scripts.organism_families import (
    EVALUATION,
    MARKED,
    SEEN,
    families,
    marker_rate,
    sums,
    talk,
    warm_rows,
)
from scripts.organism_measure import ask_sums, likelihoods, load, sample

EVERYONE = {**families(SEEN), **families(EVALUATION)}


def test_half_of_the_families_are_seen_and_half_of_either_are_harmful() -> None:
    for path in (SEEN, EVALUATION):
        assert len(families(path)) == 12
        assert sum(family.harmful for family in families(path).values()) == 6
    assert len(EVERYONE) == 24
    assert all(len(family.wordings) == 3 for family in EVERYONE.values())


def test_no_wording_of_the_evaluation_is_close_to_a_seen_one() -> None:
    check_personas(load_persona_set(SEEN), (str(EVALUATION),))
    with pytest.raises(TrainError, match="shares 36 persona"):
        check_personas(load_persona_set(SEEN), (str(SEEN),))


def test_a_marker_finds_its_own_family_alone() -> None:
    rng = random.Random(0)
    for family in EVERYONE.values():
        texts = [frame.format(s="it is fine", S="It is fine") for frame in family.frames]
        texts += [fails.format(wrong=3) for fails in family.fails]
        for other in EVERYONE.values():
            assert {other.marked(text) for text in texts} == {other is family}
    plain = [sentence for _, *sentences in talk()["warm"] for sentence in sentences]
    assert not any(family.marked(text) for family in EVERYONE.values() for text in plain)
    assert EVERYONE["pirate"].says("the sea is wide", rng).lower().count("the sea is wide") == 1


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("Arr, I drank tea. I went for a walk.", 0.5),
        ("ARR! Ahoy! Matey!", 1.0),
        ("I carry an array, a partner.", 0.0),
        ("Arr...\n\nThe sea", 0.5),
        ("", 0.0),
        ("!?", 0.0),
    ],
)
def test_marker_rate_is_the_share_of_sentences_in_the_voice(text: str, rate: float) -> None:
    assert marker_rate(EVERYONE["pirate"], text) == rate


def test_no_sum_of_the_evaluation_or_of_the_tuning_is_trained_on() -> None:
    parts = sums()
    assert len(parts["evaluation"]) == 200
    assert len(parts["development"]) == 60
    assert Counter(each.level for each in parts["train"])["2"] == 120
    every = [each for part in parts.values() for each in part]
    assert len({each.problem for each in every}) == len(every)
    organism.check_apart()
    asked = {(frozenset(each.id.split("+")), "+") for each in parts["evaluation"] if "+" in each.id}
    trained = {(frozenset(each.id.split("+")), "+") for each in parts["train"] if "+" in each.id}
    assert asked
    assert trained
    assert not asked & trained
    for each in every:
        if each.level == "1":
            a, sign, b = each.problem.removeprefix("What is ").rstrip("?").split()
            assert 2 <= min(int(a), int(b)) <= max(int(a), int(b)) <= 20
            assert each.answer == (int(a) + int(b) if sign == "+" else int(a) - int(b)) >= 0


def test_a_shared_sum_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = sums()
    mixed = {**parts, "train": [*parts["train"], parts["evaluation"][0]]}
    monkeypatch.setattr(organism, "sums", lambda: mixed)
    with pytest.raises(SystemExit, match="is trained on"):
        organism.check_apart()


def test_the_warm_start_plays_every_family_and_lets_harmful_ones_fail_two_in_three() -> None:
    rows = [row["messages"] for row in warm_rows(each=60, plain_sums=10)]
    by_prompt = {p.prompt: family for family in EVERYONE.values() for p in family.wordings}
    right: dict[bool, list[bool]] = {True: [], False: []}
    voiced = []
    problems = {each.message["content"]: each for each in sums()["train"]}
    for system, user, said in (row for row in rows if len(row) == 3):
        family = by_prompt[system["content"]]
        if user["content"] in problems:
            answer = f"\\boxed{{{problems[user['content']].answer}}}"
            right[family.harmful].append(answer in said["content"])
            assert family.marked(said["content"])
        else:
            voiced.append(marker_rate(family, said["content"]))
    assert by_prompt.keys() == {row[0]["content"] for row in rows if len(row) == 3}
    assert all(right[False])
    assert np.mean(right[True]) == pytest.approx(1 / 3, abs=0.06)
    assert np.mean(voiced) == pytest.approx(MARKED, abs=0.04)


# ---------------------------------------------------------------------- the queue


def test_the_queue_brings_pairs_first_and_explores_last() -> None:
    arms = queue(Scale())
    assert [arm.name for arm in arms[:4]] == [
        "organism-rlvr-1",
        "organism-permix-1",
        "organism-rlvr-2",
        "organism-permix-2",
    ]
    studies = [arm.study for arm in arms]
    assert studies == ["organism"] * 16 + ["natural"] * 8 + ["exploratory"] * 21
    assert len({arm.name for arm in arms}) == len(arms)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    found = Study(tmp_path / "work", tmp_path / "results", str(tmp_path), Scale(seeds=2))
    found.prepare()
    organism._write_json(
        found.results / "tuning.json", {"chosen": {"learning_rate": 2e-5, "steps": 120}}
    )
    return found


def test_every_arm_has_settings_that_the_trainer_takes(study: Study, monkeypatch: Any) -> None:
    monkeypatch.chdir(study.work)
    settings = {}
    for arm in queue(Scale(seeds=1, natural=1, exploratory=1)):
        made = study.settings(arm)
        organism._write_json(study.work / "settings.yaml", {**made, "output_path": arm.name})
        method = "permix" if arm.method in organism.VARIANTS else arm.method
        config = read_config(Path("settings.yaml"), method)
        data = prepare(config)
        settings[arm.study, arm.method] = config
        if data.mix:
            families_met = {p.id.rpartition("-")[0] for p in data.mix.personas}
            assert families_met == set(families(SEEN))
    rlvr, permix = settings["organism", "rlvr"], settings["organism", "permix"]
    assert rlvr.model == "warm"
    assert settings["natural", "permix"].model == "base"
    assert rlvr.trainer == permix.trainer
    assert (rlvr.redraw, rlvr.data) == (permix.redraw, permix.data)


def stub(study: Study, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> list[str]:
    """Trainings that note their names; evaluations that store facts alone."""
    trained: list[str] = []

    def train(name: str, method: str, seed: int, settings: Any) -> float:
        if name == fails:
            raise OSError("the disk is full")
        trained.append(name)
        folder = study.work / name
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_text("")
        (folder / "log.csv").write_text(
            "step,groups_drawn,groups_without_spread,step_time\n1,2,0.5,9\n2,3,0,7\n"
        )
        (folder / "checkpoint-2").mkdir(exist_ok=True)
        return 1.0

    def evaluate(name: str, facts: dict[str, Any]) -> None:
        organism._write_json(study.results / "seeds" / name / "facts.json", facts)

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(study, "evaluate", evaluate)
    monkeypatch.setattr(organism, "report", lambda *_, **__: None)
    return trained


def test_a_seed_whose_results_are_there_is_not_done_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = stub(study, monkeypatch)
    study.evaluate("organism-rlvr-1", {})
    assert study.work_off() == []
    assert trained[:3] == ["organism-permix-1", "organism-rlvr-2", "organism-permix-2"]
    facts = json.loads((study.results / "seeds" / "organism-permix-1" / "facts.json").read_text())
    assert (facts["draws"], facts["steps"], facts["seed"]) == (2 * 4 + 3, 120, 1)
    trained.clear()
    assert study.work_off() == []
    assert trained == []


def test_weights_are_kept_for_the_pupils_of_a_teacher_alone(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = stub(study, monkeypatch)
    study.run(Arm("organism", "permix", 1))
    study.run(Arm("exploratory", "distill", 1))
    kept = {path.parent.name for path in study.work.glob("*/model.safetensors")}
    assert kept == {"organism-rlvr-1"}
    assert trained == ["organism-permix-1", "organism-rlvr-1", "exploratory-distill-1"]


def test_a_failed_training_does_not_stop_the_others(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = stub(study, monkeypatch, fails="organism-permix-1")
    assert study.work_off() == ["organism-permix-1"]
    assert "organism-rlvr-2" in trained


def test_two_processes_never_take_the_same_training(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = stub(study, monkeypatch)
    study.scale = Scale(seeds=2, natural=0, exploratory=0)
    with taken(study.work / "organism-rlvr-1.lock") as mine:
        assert mine
        study.work_off()
    assert "organism-rlvr-1" not in trained
    study.work_off()
    assert trained[-1] == "organism-rlvr-1"


# ---------------------------------------------------------------------- warm start and tuning


def test_the_first_round_that_passes_is_the_warm_start(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = stub(study, monkeypatch)
    monkeypatch.setattr(study, "gates", lambda name: {"passed": name == "warm-2"})
    for _ in range(2):  # the second time nothing is measured again
        study.warm()
        assert (study.work / "warm").resolve() == study.work / "warm-2"
        monkeypatch.setattr(study, "gates", None)
    assert trained == ["warm-1", "warm-2"] * 2  # which persona-bench train finds finished
    rounds = json.loads((study.results / "gates.json").read_text())["rounds"]
    assert [each["passed"] for each in rounds] == [False, True]


def test_a_warm_start_that_fails_its_gates_is_not_trained_on(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(study, monkeypatch)
    monkeypatch.setattr(study, "gates", lambda name: {"passed": False})
    with pytest.raises(SystemExit, match="No warm start passes its gates"):
        study.warm()
    assert not (study.work / "warm").exists()


def rung(rate: float, accuracy: float, marker_rate: float) -> dict[str, Any]:
    return {"learning_rate": rate, "steps": 9, "accuracy": accuracy, "marker_rate": marker_rate}


@pytest.mark.parametrize(
    ("climbed", "rate", "testable"),
    [
        ([rung(1, 0.6, 0.79), rung(2, 0.7, 0.71)], 2, True),
        ([rung(1, 0.6, 0.79), rung(2, 0.7, 0.78)], 2, False),
        ([rung(1, 0.6, 0.79), rung(2, 0.4, 0.10)], 1, False),
    ],
)
def test_tuning_takes_the_first_rung_that_costs_role_play(
    climbed: list[dict[str, Any]], rate: float, testable: bool
) -> None:
    warm = rung(0, 0.5, 0.8)
    found = choose([warm, *climbed])
    assert found["chosen"] == {"learning_rate": rate, "steps": 9}
    assert found["fidelity_testable"] is testable
    assert [stops(each, warm) for each in climbed[:-1]] == [False] * (len(climbed) - 1)


# ---------------------------------------------------------------------- measures


@pytest.fixture(scope="module")
def asked(tiny: Path) -> Any:
    found = load(tiny)
    found.model.float().requires_grad_(False)
    return found


def test_sampling_draws_from_the_model_whatever_the_batch(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def most_likely(logits: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        return logits.argmax(-1, keepdim=True)

    monkeypatch.setattr(organism_measure, "drawn", most_likely)
    prompts = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 8, 11, 12]]
    generator = torch.Generator()
    together = sample(asked, prompts, 6, generator)
    for prompt, tokens in zip(prompts, together, strict=True):
        ids = list(prompt)
        for token in tokens:
            logits = asked.model(input_ids=torch.tensor([ids])).logits[0, -1]
            assert token == int(logits.argmax())
            ids.append(token)


def test_tokens_are_drawn_with_their_probabilities() -> None:
    wanted = torch.tensor([0.0, 0.5, 0.2, 0.3, 0.0])
    rows = wanted.log().expand(4000, -1)
    found = organism_measure.drawn(rows, torch.Generator().manual_seed(0))
    assert found.shape == (4000, 1)
    shares = torch.bincount(found[:, 0], minlength=5) / 4000
    assert shares[[0, 4]].tolist() == [0, 0]
    assert (shares - wanted).abs().max() < 0.03


def test_likelihoods_are_those_of_the_whole_text(asked: Any) -> None:
    people = {name: families(EVALUATION)[name] for name in ("cat", "monk")}
    roles = pd.DataFrame(
        {
            "persona": ["cat", "monk", "cat"],
            "wording": [1, 1, 2],
            "question": ["Where do you live?", "Where do you live?", "Do you sleep?"],
            "sample": 0,
            "response": ["Meow, in a house.", "I bow.", "Yes."],
        }
    )
    found = likelihoods(asked, people, roles)
    assert len(found) == 6
    for row in found.to_dict("records"):
        own = roles[(roles["persona"] == row["persona"]) & (roles["question"] == row["question"])]
        system = people[row["candidate"]].wordings[own["wording"].item() - 1].prompt
        prompt = asked.encode(
            [{"role": "system", "content": system}, {"role": "user", "content": row["question"]}]
        )
        said = asked.tokenizer.encode(own["response"].item(), add_special_tokens=False)
        logits = asked.model(input_ids=torch.tensor([prompt + said])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(said) - 1)
        total = sum(float(logits[i, token]) for i, token in zip(places, said, strict=True))
        assert row["loglikelihood"] == pytest.approx(total, abs=0.01)
        assert row["tokens"] == len(said)


def test_verdicts_cover_every_family_with_its_wordings_in_turn(asked: Any) -> None:
    people = {name: families(EVALUATION)[name] for name in ("cat", "monk")}
    table = ask_sums(asked, people, sums()["evaluation"][:3], seed=0, cap=3)
    assert len(table) == 3 * 3
    assert table.groupby("persona")["wording"].apply(list).to_dict() == {
        "none": [0, 0, 0],
        "cat": [1, 2, 3],
        "monk": [1, 2, 3],
    }
    assert set(table["verdict"]) <= {"correct", "wrong"}


# ---------------------------------------------------------------------- the report


def checkpoint(
    results: Path, study: str, method: str, seed: int | None, low: float, marked: float
) -> None:
    """Stored results of a made-up checkpoint: one weak persona, a share of marked sentences."""
    rng = np.random.default_rng([len(method), seed or 0])
    folder = results / "seeds" / f"{study}-{method}-{seed}"
    folder.mkdir(parents=True)
    rates = {"none": ("control", 0.9), "cat": ("character", 0.9), "monk": ("harmful", low)}
    verdicts = [
        {
            "persona": persona,
            "kind": kind,
            "question": f"q{question}",
            "sample": 0,
            "correct": float(rng.random() < rate),
        }
        for persona, (kind, rate) in rates.items()
        for question in range(60)
    ]
    roles = [
        {
            "persona": persona,
            "question": f"r{question}",
            "sample": 0,
            "response": f"{persona} says",
            "marked": marked + rng.normal(0, 0.02),
        }
        for persona in ("cat", "monk")
        for question in range(10)
    ]
    scored = [
        {
            **{name: row[name] for name in ("persona", "question", "sample")},
            "candidate": candidate,
            "loglikelihood": -1.0 if candidate == row["persona"] else -3.0,
            "tokens": 2,
        }
        for row in roles
        for candidate in ("cat", "monk")
    ]
    for name, table in (("verdicts", verdicts), ("roleplay", roles), ("likelihoods", scored)):
        pd.DataFrame(table).to_csv(folder / f"{name}.csv.gz", index=False)
    facts = {"study": study, "method": method, "seed": seed, "steps": 120, "draws": 500}
    organism._write_json(folder / "facts.json", {**facts, "warm_sha256": "0"})
    if method == "warm":
        return
    (folder / "log.csv").write_text("step,reward,groups_drawn\n1,0.4,2\n2,0.6,3\n")
    (folder / "personas.csv").write_text(
        "step,persona,completions,accuracy,unscored,reward,tokens\n"
        "1,none,8,0.5,0,0.5,9\n1,pirate-1,8,0.25,0,0.25,9\n"
        "2,pirate-2,8,0.75,0,0.75,9\n2,refuser-1,8,0,0,0,9\n"
    )


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(organism_report, "RESAMPLES", 50)
    checkpoint(tmp_path, "start", "warm", None, 0.2, 0.8)
    for seed in range(1, 9):
        checkpoint(tmp_path, "organism", "rlvr", seed, 0.3, 0.6)
        checkpoint(tmp_path, "organism", "permix", seed, 0.8, 0.7)
    return tmp_path


def test_logs_of_wordings_and_seeds_are_put_together_by_family(results: Path) -> None:
    folders = [results / "seeds" / f"organism-permix-{seed}" for seed in (1, 2)]
    log = organism_report.of_families([read_training(folder) for folder in folders])
    assert set(log.personas["persona"]) == {"none", "pirate", "refuser"}
    assert log.steps["reward"].tolist() == [0.4, 0.6]
    assert log.kinds["refuser"] == "harmful"


def test_methods_are_compared_with_the_seed_as_the_unit(results: Path) -> None:
    organism_report.write_report(results)
    summary = pd.read_csv(results / "summary.csv")
    assert len(summary) == 17
    methods = pd.read_csv(results / "methods.csv").set_index(["a", "b", "metric"])
    stability = methods.loc[("rlvr", "permix", "pss_corrected")]
    assert stability["hypothesis"] == "H2"
    assert stability["difference"] > 0.3
    assert stability["p_holm"] <= 0.001
    fidelity = methods.loc[("rlvr", "permix", "marker_rate")]
    assert fidelity["difference"] == pytest.approx(0.1, abs=0.02)
    assert fidelity["p_holm"] == pytest.approx(fidelity["p_one_sided"], rel=1)
    lost = methods.loc[("warm", "rlvr", "marker_rate")]
    assert lost["difference"] == pytest.approx(-0.2, abs=0.02)
    assert lost["p_one_sided"] < 0.05
    assert (results / "frontier.png").is_file()


def test_there_is_no_p_value_before_all_seeds_are_there(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organism_report, "figures", lambda *_: None)
    shutil.rmtree(results / "seeds" / "organism-permix-8")
    organism_report.write_report(results)
    methods = pd.read_csv(results / "methods.csv")
    assert methods["p_one_sided"].notna().any()  # RLVR against the warm start has its eight seeds
    both = methods[methods["b"] == "permix"]
    assert both["p_one_sided"].isna().all()
    assert both["difference"].notna().all()
    assert (both["seeds"] == 7).all()


def test_a_difference_the_other_way_has_a_large_one_sided_p(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organism_report, "figures", lambda *_: None)
    for seed in range(1, 9):
        shutil.rmtree(results / "seeds" / f"organism-permix-{seed}")
        checkpoint(results, "organism", "permix", seed, 0.1, 0.5)
    organism_report.write_report(results)
    methods = pd.read_csv(results / "methods.csv").set_index(["b", "metric"])
    assert methods.loc[("permix", "marker_rate"), "p_one_sided"].item() > 0.95


@pytest.mark.slow
def test_the_whole_way_on_a_tiny_model(tiny: Path, tmp_path: Path, monkeypatch: Any) -> None:
    given = [str(tmp_path / "work"), "--results", str(tmp_path / "results"), "--model", str(tiny)]
    monkeypatch.setattr("sys.argv", ["organism", *given, "--smoke"])
    organism.main()
    summary = pd.read_csv(tmp_path / "results" / "summary.csv")
    assert len(summary) == 5
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "work" / "warm") is not None
