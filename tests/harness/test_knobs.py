"""The knobs that `--metadata` sets."""

from __future__ import annotations

import pytest

from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.harness.knobs import KnobError, Knobs
from persona_bench.personas import PersonaSetError


def test_defaults_and_the_model_s_own_arguments_beside_them() -> None:
    knobs = Knobs.from_metadata(
        {"pretrained": "org/name", "dtype": "float32", "seed": 7, "version": 1.0, "device": "cpu"}
    )
    assert knobs == Knobs()
    assert (knobs.persona_set, knobs.samples, knobs.system_role) == ("core", 1, "native")


def test_every_knob_is_read() -> None:
    knobs = Knobs.from_metadata(
        {
            "persona_set": "wide",
            "n_personas": "12",
            "kinds": "expert+harmful",
            "n_questions": 30,
            "persona_seed": 0,
            "samples": 4,
            "system_role": "merge",
            "data_dir": "/mirror",
        }
    )
    assert knobs == Knobs("wide", 12, ("expert", "harmful"), 30, 0, 4, "merge", "/mirror")
    assert Knobs.from_metadata({"kinds": ["expert", "speech"]}).kinds == ("expert", "speech")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"persona_sets": "wide"}, "did you mean 'persona_set'"),
        ({"personas": 6}, "has no 'personas'"),
        ({"n_persona": 6}, "did you mean 'n_personas'"),
        ({"sample": 2}, "did you mean 'samples'"),
        ({"wording": "short"}, "wording='short' must be last, all, or a whole number from 1"),
        ({"wording": 0}, "wording=0 must be"),
        ({"samples": 0}, "samples=0 should be greater than or equal to 1"),
        ({"samples": 2.5}, "samples=2.5 should be a valid integer"),
        ({"samples": "many"}, "samples='many' should be a valid integer"),
        ({"n_personas": True}, "n_personas='True' should be a valid integer"),
        ({"persona_seed": -1}, "persona_seed=-1 should be greater than or equal to 0"),
        ({"system_role": "user"}, "system_role='user' should be 'native', 'merge' or 'error'"),
        ({"system_role": ["merge"]}, "should be 'native', 'merge' or 'error'"),
        ({"kinds": 5}, "kinds=5 should be a valid tuple"),
        ({"kinds": []}, r"kinds=\[\] should have at least 1 item"),
        ({"shard": "3/2"}, "shard='3/2' must be i/n"),
        ({"design": 3}, r"design=3 must be a \.csv or \.json file"),
        ({"training": {"method": "rlvr"}}, "must have a method and a seed"),
        ({"temperature": 0.5}, "'temperature' is a generation argument"),
        ({"pretrained": "org/name", "do_sample": True}, "'do_sample' is a generation argument"),
    ],
)
def test_a_wrong_knob_is_refused(metadata: dict[str, object], words: str) -> None:
    with pytest.raises(KnobError, match=words):
        Knobs.from_metadata(metadata)


def test_without_the_model_s_arguments_every_name_has_to_be_a_knob_s() -> None:
    given = {"persona_set": "wide", "levels": [1], "bananas": 3}
    assert Knobs.from_metadata(given, BENCHMARK).persona_set == "wide"
    with pytest.raises(KnobError, match="has no 'bananas': use persona_set"):
        Knobs.from_metadata(given, BENCHMARK, only_knobs=True)
    del given["bananas"]
    assert Knobs.from_metadata(given, BENCHMARK, only_knobs=True).own == {"levels": ("1",)}


def test_the_chosen_personas_follow_the_knobs() -> None:
    chosen = Knobs(persona_set="wide", n_personas=5, kinds=("expert",)).choose_personas(BENCHMARK)
    assert [p.kind for p in chosen] == ["expert"] * 5
    with pytest.raises(PersonaSetError):
        Knobs(persona_set="nowhere").choose_personas(BENCHMARK)
