"""The schedule: mixed, seeded, and apart from every evaluation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks import aime24, arithmetic, math500
from persona_bench.benchmarks.base import Question
from persona_bench.benchmarks.sources import SourceError
from persona_bench.persona_building import dump_persona_set
from persona_bench.personas import KINDS, Persona, PersonaSet, load_persona_set
from persona_bench.train.config import Data, Personas, TrainConfig, TrainError
from persona_bench.train.data import (
    MILD_TO_FAR,
    Mix,
    Row,
    check_personas,
    columns,
    messages,
    overlaps,
    prepare,
    schedule,
)

pytestmark = pytest.mark.timeout(120)

TRAIN = load_persona_set("train")


def questions(n: int) -> list[Question]:
    return [Question(f"q{i}", f"What is {i} + {i}?", str(2 * i)) for i in range(n)]


def mix(personas: PersonaSet = TRAIN, seed: int = 0, **settings: Any) -> Mix:
    return Mix(personas, Personas(**settings), seed)


def set_of(*prompts: str, kind: str = "speech") -> PersonaSet:
    personas = [Persona(f"own-{i}", kind, prompt) for i, prompt in enumerate(prompts)]
    return PersonaSet("own", "1", "", tuple(personas))


def under(rows: Iterable[Row]) -> list[str]:
    """The personas' ids, without those of prompts that have none."""
    return [row.persona.id for row in rows if row.persona]


def asked(rows: Iterable[Row]) -> list[str]:
    return [row.question.id for row in rows]


def near(share: float, wanted: float, n: int) -> bool:
    """Within four standard errors."""
    return abs(share - wanted) <= 4 * sqrt(wanted * (1 - wanted) / n)


# ---------------------------------------------------------------------- mixing


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8, 1.0])
def test_the_mixing_ratio_is_held(ratio: float) -> None:
    rows = schedule(questions(5000), 1, 0, mix(mix_ratio=ratio))
    assert len(rows) == 5000
    assert near(len(under(rows)) / 5000, ratio, 5000)


def test_without_a_mix_there_are_no_personas() -> None:
    rows = schedule(questions(50), 2, 0)
    assert not under(rows)
    # and the order is not the mix's matter
    assert asked(rows) == asked(schedule(questions(50), 2, 0, mix()))


def test_every_persona_but_the_controls_is_trained_under() -> None:
    core = load_persona_set("core")
    drawn = set(under(schedule(questions(2000), 1, 0, mix(core, mix_ratio=1))))
    assert drawn == {persona.id for persona in core if persona.kind != "control"}
    assert not {"none", "assistant"} & drawn


def test_a_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    first = schedule(questions(200), 2, 3, mix(seed=3))
    assert schedule(questions(200), 2, 3, mix(seed=3)) == first
    other_draw = schedule(questions(200), 2, 3, mix(seed=4))
    assert asked(other_draw) == asked(first)
    assert other_draw != first
    assert asked(schedule(questions(200), 2, 4, mix(seed=3))) != asked(first)


def decided(rows: Iterable[Row]) -> dict[tuple[int, str], list[Persona | None]]:
    found: dict[tuple[int, str], list[Persona | None]] = {}
    for row in rows:
        found.setdefault((row.epoch, row.question.id), []).append(row.persona)
    return found


@pytest.mark.parametrize("prompts", [1, 4])
def test_a_persona_is_decided_by_seed_epoch_and_question_alone(prompts: int) -> None:
    whole = decided(schedule(questions(200), 2, 1, mix(seed=1), prompts))
    half = decided(schedule(questions(200)[::2], 2, 1, mix(seed=1), prompts))
    assert len(half) == 200
    assert half == {place: whole[place] for place in half}
    turned = decided(schedule(questions(200)[::-1], 3, 1, mix(seed=1), prompts))
    assert whole == {place: turned[place] for place in whole}


def test_a_longer_training_begins_like_a_shorter_one() -> None:
    assert schedule(questions(100), 3, 0, mix())[:100] == schedule(questions(100), 1, 0, mix())


def test_each_question_comes_once_an_epoch_in_another_order_under_another_persona() -> None:
    rows = schedule(questions(300), 3, 0, mix(mix_ratio=1))
    epochs = [[row for row in rows if row.epoch == epoch] for epoch in range(3)]
    assert rows == [row for epoch in epochs for row in epoch]
    for epoch in epochs:
        assert Counter(asked(epoch)) == {f"q{i}": 1 for i in range(300)}
    orders = [asked(epoch) for epoch in epochs]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] != asked([Row(0, each, None) for each in questions(300)])
    first, second = (
        {row.question.id: row.persona.id for row in epoch if row.persona} for epoch in epochs[:2]
    )
    # of 111 personas, about one question in 111 meets its own again
    assert sum(first[question] == second[question] for question in first) < 20


# ---------------------------------------------------------------------- weights and curriculum


def test_a_kind_of_weight_three_comes_three_times_as_often_and_one_of_zero_never() -> None:
    weights = {"harmful": 0, "expert": 3}
    rows = schedule(questions(5000), 1, 0, mix(mix_ratio=1, weights=weights))
    drawn = Counter(row.persona.kind for row in rows if row.persona)
    sizes = Counter(persona.kind for persona in TRAIN)
    total = len(TRAIN) - sizes["harmful"] + 2 * sizes["expert"]
    assert drawn["harmful"] == 0
    assert near(drawn["expert"] / 5000, 3 * sizes["expert"] / total, 5000)
    for kind in set(sizes) - set(weights):
        assert near(drawn[kind] / 5000, sizes[kind] / total, 5000), kind


def test_personas_of_equal_weight_are_equally_likely() -> None:
    drawn = Counter(under(schedule(questions(5000), 1, 0, mix(mix_ratio=1))))
    share = 1 / len(TRAIN)
    assert all(near(drawn[persona.id] / 5000, share, 5000) for persona in TRAIN)


def first_comings(rows: Sequence[Row]) -> dict[str, float]:
    """From a kind to the share of the training at which it first comes."""
    found: dict[str, float] = {}
    for number, row in enumerate(rows):
        if row.persona:
            found.setdefault(row.persona.kind, number / len(rows))
    return found


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_curriculum_goes_from_mild_to_far_over_its_share_of_the_whole_training(
    epochs: int,
) -> None:
    rows = schedule(questions(4000 // epochs), epochs, 0, mix(mix_ratio=1, curriculum=0.5))
    kinds = [kind for kind in MILD_TO_FAR if kind not in ("control", "placebo")]
    first = first_comings(rows)
    assert list(first) == kinds
    for place, kind in enumerate(kinds):
        # a kind is let in at its place, and with some 200 rows a stage it soon comes
        assert place / 9 * 0.5 <= first[kind] < place / 9 * 0.5 + 0.02
    after = {row.persona.kind for row in rows[2000:] if row.persona}
    assert after == set(kinds)
    sizes = Counter(persona.kind for persona in TRAIN)
    late = Counter(row.persona.kind for row in rows[2000:] if row.persona)
    assert near(late["expert"] / 2000, sizes["expert"] / len(TRAIN), 2000)


def test_without_a_curriculum_all_kinds_come_from_the_start() -> None:
    first = first_comings(schedule(questions(2000), 1, 0, mix(mix_ratio=1)))
    assert set(first) == set(KINDS) - {"control", "placebo"}
    assert max(first.values()) < 0.1


def test_a_curriculum_has_no_stage_for_a_kind_left_out() -> None:
    settings = {"mix_ratio": 1, "curriculum": 1, "weights": {"expert": 0, "harmful": 0}}
    rows = schedule(questions(2000), 1, 0, mix(**settings))
    first = first_comings(rows)
    assert list(first) == [
        k for k in MILD_TO_FAR if k not in ("control", "placebo", "expert", "harmful")
    ]
    assert first["adjacent_expert"] == 0


def test_a_curriculum_is_the_same_for_groups_across_personas() -> None:
    rows = schedule(questions(500), 1, 0, mix(mix_ratio=1, curriculum=1), prompts=4)
    first = first_comings(rows)
    assert next(iter(first)) == "expert"
    assert first["harmful"] >= 8 / 9


def test_every_kind_has_its_place_in_a_curriculum() -> None:
    assert sorted(MILD_TO_FAR) == sorted(KINDS)


# ---------------------------------------------------------------------- groups


def blocks(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def test_a_group_across_personas_is_one_question_under_personas_that_differ() -> None:
    rows = schedule(questions(100), 2, 0, mix(mix_ratio=1), prompts=8)
    groups = blocks(rows, 8)
    assert len(groups) == 200
    for group in groups:
        assert len(set(asked(group))) == 1
        assert len({row.epoch for row in group}) == 1
        assert len(set(under(group))) == 8
    assert Counter(asked(rows)) == {f"q{i}": 16 for i in range(100)}
    assert len({tuple(under(group)) for group in groups}) == 200


def test_personas_come_again_only_when_all_of_a_small_set_have_come() -> None:
    few = set_of("Arr, matey.", "Speak in verse, always.", "You mumble without end.")
    for group in blocks(schedule(questions(50), 1, 0, mix(few, mix_ratio=1), prompts=8), 8):
        drawn = under(group)
        assert len(set(drawn[:3])) == len(set(drawn[3:6])) == 3
        assert len(set(drawn[6:])) == 2


def test_the_ratio_is_of_completions_where_each_has_a_persona_of_its_own() -> None:
    rows = schedule(questions(1000), 1, 0, mix(mix_ratio=0.3), prompts=8)
    assert near(len(under(rows)) / 8000, 0.3, 8000)
    for group in blocks(rows, 8):
        assert len(set(under(group))) == len(under(group))
    assert len({len(under(group)) for group in blocks(rows, 8)}) > 4


# ---------------------------------------------------------------------- nobody left


def test_a_set_that_leaves_nobody_to_train_under_is_refused() -> None:
    controls = PersonaSet("bare", "1", "", (Persona("none", "control", ""),))
    with pytest.raises(TrainError, match="no persona of 'bare' is left to train under"):
        mix(controls)
    with pytest.raises(TrainError, match="no persona of 'own' is left to train under"):
        mix(set_of("Arr, matey."), weights={"speech": 0})
    assert not under(schedule(questions(20), 1, 0, mix(controls, mix_ratio=0)))


# ---------------------------------------------------------------------- prompts


def test_a_prompt_is_what_the_evaluation_puts() -> None:
    benchmark, user = arithmetic.BENCHMARK, arithmetic.prompt("What is 1 + 1?")
    put = {
        (persona, role): messages(benchmark, "What is 1 + 1?", persona, role)
        for persona in ("", "Arr, matey.")
        for role in ("native", "merge")
    }
    bare = [{"role": "user", "content": user}]
    assert put["", "native"] == put["", "merge"] == bare
    assert put["Arr, matey.", "native"] == [{"role": "system", "content": "Arr, matey."}, *bare]
    assert put["Arr, matey.", "merge"] == [{"role": "user", "content": f"Arr, matey.\n\n{user}"}]


def test_the_columns_say_what_is_asked_and_what_the_reward_needs() -> None:
    rows = schedule(questions(40), 2, 0, mix())
    table = columns(arithmetic.BENCHMARK, rows, "native")
    assert {len(column) for column in table.values()} == {80}
    assert set(table["persona"]) - {"none"} == set(under(rows))
    for number, row in enumerate(rows):
        persona = row.persona.prompt if row.persona else ""
        assert table["prompt"][number] == messages(
            arithmetic.BENCHMARK, row.question.problem, persona, "native"
        )
        assert table["answer"][number] == row.question.answer
        assert table["question"][number] == row.question.id
        assert table["problem"][number] == row.question.problem
        assert table["persona"][number] == (row.persona.id if row.persona else "none")
        assert table["epoch"][number] == row.epoch


# ---------------------------------------------------------------------- questions apart


def own_file(tmp_path: Path, problems: Iterable[str]) -> Path:
    path = tmp_path / "own.jsonl"
    rows = [{"id": f"own/{i}", "question": p, "answer": "1"} for i, p in enumerate(problems)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepared(tmp_path: Path, data: dict[str, Any], **more: Any) -> Any:
    whole = {"method": "rlvr", "model": "org/name", "output_path": tmp_path / "out", "data": data}
    return prepare(TrainConfig(**{**whole, **more}))


EVALUATED = arithmetic.load(None, 0)


def test_a_question_of_an_evaluation_is_refused_and_named(tmp_path: Path) -> None:
    theirs = EVALUATED[7]
    path = own_file(tmp_path, ["What is love?", f" {theirs.problem.upper()} \n".replace(" ", "  ")])
    data = {"source": str(path), "evaluation": ["arithmetic"]}
    with pytest.raises(TrainError) as caught:
        prepared(tmp_path, data)
    assert str(caught.value).startswith(
        f"1 training question(s) of {path} are in an evaluation benchmark: "
        f"own/1 = arithmetic {theirs.id}. "
    )
    assert "exclude_overlaps: true" in str(caught.value)
    found = prepared(tmp_path, {**data, "exclude_overlaps": True})
    assert [question.id for question in found.questions] == ["own/0"]
    assert found.notes == [f"1 question(s) of {path} left out that are in an evaluation benchmark"]


def test_many_overlaps_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    path = own_file(tmp_path, [question.problem for question in EVALUATED[:7]])
    data = {"source": str(path), "evaluation": ["arithmetic"]}
    with pytest.raises(TrainError, match=r"^7 training .*; and 2 more\. ") as caught:
        prepared(tmp_path, data)
    assert str(caught.value).count(" = arithmetic ") == 5
    with pytest.raises(TrainError, match="every training question is in an evaluation"):
        prepared(tmp_path, {**data, "exclude_overlaps": True})


def test_questions_that_are_apart_pass_without_a_word(tmp_path: Path) -> None:
    path = own_file(tmp_path, ["What is love?", "What is war?"])
    found = prepared(tmp_path, {"source": str(path), "evaluation": ["arithmetic"]})
    assert (len(found.questions), found.notes, found.mix) == (2, [], None)


def test_of_an_evaluations_question_that_stands_twice_no_copy_is_left(tmp_path: Path) -> None:
    path = own_file(tmp_path, [EVALUATED[0].problem, EVALUATED[0].problem, "What is love?"])
    data = {"source": str(path), "evaluation": ["arithmetic"], "exclude_overlaps": True}
    assert [question.id for question in prepared(tmp_path, data).questions] == ["own/2"]


def test_questions_from_files_are_held_against_the_mathematical_benchmarks(
    tmp_path: Path, data_dir: Path
) -> None:
    theirs = [module.load(data_dir)[3] for module in (math500, aime24)]
    path = own_file(tmp_path, ["What is love?", *(question.problem for question in theirs)])
    found, notes = overlaps(
        [Question(f"own/{i}", p, "1") for i, p in enumerate(_problems(path))],
        Data(source=str(path), data_dir=data_dir),
        str(path),
    )
    assert found == {"own/1": f"math500 {theirs[0].id}", "own/2": f"aime24 {theirs[1].id}"}
    assert notes == []


def _problems(path: Path) -> list[str]:
    return [json.loads(line)["question"] for line in path.read_text().splitlines()]


def test_an_evaluation_that_cannot_be_had_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(data_dir: Path | None, seed: int) -> list[Question]:
        raise SourceError("the file is on no machine")

    for module in (math500, aime24):
        monkeypatch.setattr(module, "BENCHMARK", replace(module.BENCHMARK, load=absent))
    path = own_file(tmp_path, ["What is love?"])
    assert prepared(tmp_path, {"source": str(path)}).notes == [
        "not checked against math500: the file is on no machine",
        "not checked against aime24: the file is on no machine",
    ]
    # generated questions are in neither, so there is nothing to note
    assert prepared(tmp_path, {"source": "arithmetic", "n_questions": 5}).notes == []
    # what can be checked still is
    with pytest.raises(TrainError, match="own/0 = arithmetic"):
        prepared(tmp_path, {"source": str(own_file(tmp_path, [EVALUATED[0].problem]))})


@pytest.mark.parametrize("name", ["persona_math500", "base", "archives"])
def test_an_evaluation_that_does_not_exist_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainError, match=f"data.evaluation: there is no benchmark '{name}'"):
        prepared(tmp_path, {"source": "arithmetic", "n_questions": 5, "evaluation": [name]})


# ---------------------------------------------------------------------- personas apart


def test_the_bundled_training_set_is_apart_from_the_evaluations(tmp_path: Path) -> None:
    check_personas(TRAIN, ("demo", "core", "wide"))
    data = {"source": "arithmetic", "n_questions": 5}
    found = prepared(tmp_path, data, method="permix", personas={})
    assert found.mix
    assert len(found.mix.personas) == len(TRAIN)


def test_an_evaluations_own_set_is_refused(tmp_path: Path) -> None:
    core = load_persona_set("core")
    shared = next(persona for persona in core if persona.prompt)
    with pytest.raises(TrainError, match="persona set 'core' shares") as caught:
        check_personas(core, ("core",))
    assert f"{shared.id} = {shared.id} of core" in str(caught.value)
    assert str(caught.value).count(" of core") == 5
    assert "; and " in str(caught.value)
    with pytest.raises(TrainError, match="persona set 'core' shares"):
        prepared(
            tmp_path,
            {"source": "arithmetic", "n_questions": 5},
            method="permix",
            personas={"persona_set": "core"},
        )
    check_personas(core, ())


def test_every_wording_of_an_evaluations_persona_is_refused() -> None:
    for persona in load_persona_set("core"):
        for text in filter(None, persona.wordings):
            with pytest.raises(TrainError, match=f"own-0 = {persona.id} of core"):
                check_personas(set_of(text), ("core",))


def test_a_near_copy_of_an_evaluations_persona_is_refused(tmp_path: Path) -> None:
    theirs = next(p for p in load_persona_set("core") if "professor" in p.prompt)
    reworded = theirs.prompt.replace("professor", "teacher")
    path = tmp_path / "own.yaml"
    path.write_text(dump_persona_set(set_of("Arr, matey.", reworded)), encoding="utf-8")
    personas = {"persona_set": str(path), "evaluation": ["core"]}
    data = {"source": "arithmetic", "n_questions": 5}
    with pytest.raises(TrainError) as caught:
        prepared(tmp_path, data, method="permix", personas=personas)
    assert f"shares 1 persona(s) with the evaluation: own-1 = {theirs.id} of core. " in str(
        caught.value
    )
    # where the set is no evaluation's, it may be trained under
    found = prepared(tmp_path, data, method="permix", personas={**personas, "evaluation": []})
    assert [persona.id for persona in found.mix.personas] == ["own-0", "own-1"]


def test_the_curriculum_runs_over_the_groups_that_the_training_takes() -> None:
    """With `max_steps` fewer groups are taken than a whole epoch has."""
    drawn = schedule(questions(400), 1, 0, mix(mix_ratio=1, curriculum=0.5), groups=100)
    assert len(drawn) == 100
    harmful = [i for i, row in enumerate(drawn) if row.persona and row.persona.kind == "harmful"]
    assert 40 <= harmful[0] < 65
    assert {row.persona.kind for row in drawn[:5] if row.persona} == {"expert"}
