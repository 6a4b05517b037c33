"""Persona sets: the bundled ones are sound, and every fault is said with line and mend."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from persona_bench.persona_building import build_persona_set, dump_persona_set
from persona_bench.personas import (
    KINDS,
    PersonaSetError,
    bundled_sets,
    load_persona_set,
    read_persona_set,
)
from persona_bench.texts import near_copy

GOOD = """\
name: mine
version: 1
description: A set.
personas:
  - id: none
    kind: control
    prompt: ""
  - id: pirate
    kind: speech
    prompt: You are a pirate.
"""


WITHOUT_PLACEBO = tuple(kind for kind in KINDS if kind != "placebo")

WORDED = GOOD.replace(
    "prompt: You are a pirate.",
    """prompts:
      - You are a pirate.
      - >-
        You are a pirate,
        and talk like one.""",
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "set.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_set_is_read(tmp_path: Path) -> None:
    loaded = read_persona_set(written(tmp_path, GOOD))
    assert [(p.id, p.kind, p.prompt) for p in loaded] == [
        ("none", "control", ""),
        ("pirate", "speech", "You are a pirate."),
    ]
    assert (loaded.name, loaded.version) == ("mine", "1")


@pytest.mark.parametrize("name", sorted(bundled_sets()))
def test_bundled_sets_are_sound(name: str) -> None:
    loaded = load_persona_set(name)
    assert loaded.name == name
    assert all(p.prompt for p in loaded if p.id != "none")
    # a number in a persona could be read as the answer of a response that repeats it
    assert not [p.id for p in loaded for text in p.wordings if re.search(r"\d", text)]


def test_demo_and_core_are_the_sizes_and_kinds_they_promise() -> None:
    assert len(load_persona_set("demo")) == 6
    core = load_persona_set("core")
    assert len(core) == 16
    assert core.kinds == WITHOUT_PLACEBO
    assert core.personas[0].id == "none"
    assert [len(p.wordings) for p in core] == [1] + [3] * 15
    assert [p.kind for p in core].count("harmful") == 4


@pytest.mark.parametrize(("name", "count"), [("core", 6), ("wide", 12)])
def test_placebos_have_no_role_and_the_lengths_of_their_set(name: str, count: int) -> None:
    placebos, personas = load_persona_set(f"{name}-placebos"), load_persona_set(name)
    assert (len(placebos), placebos.kinds) == (count, ("placebo",))
    texts = [text for p in placebos for text in p.wordings]
    assert not [text for text in texts if re.search(r"\b(you|your|answer)\b", text.lower())]
    roles = [p for p in personas if p.kind != "control"]
    for wording in (1, 2, "last"):
        words = [
            np.mean([len(p.asked(wording)[0][1].split()) for p in group])
            for group in (placebos, roles)
        ]
        assert words[0] == pytest.approx(words[1], rel=0.2)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("id: pirate", "id: none", 8, "already used on line 5"),
        ("kind: speech", "kind: speach", 9, "did you mean 'speech'?"),
        ("prompt: You are a pirate.", 'prompt: ""', 10, "empty prompt"),
        ("prompt: You are a pirate.", "promt: You are a pirate.", 10, "did you mean 'prompt'?"),
        ("    kind: speech\n", "", 8, "'kind' is missing"),
        ("prompt: You are a pirate.", "prompt: [a, b]", 10, "must be text"),
        ("prompt: You are a pirate.", "prompt:", 10, "must be text"),
        ("prompt: You are a pirate.", "prompt: You are: a pirate.", 10, "not YAML"),
        (
            "prompt: You are a pirate.",
            "prompt: You are number # 1\n      of all pirates.",
            11,
            "in line 10 YAML reads a comment from ` #` on",
        ),
        ("id: pirate", "id: Black Pirate", 8, "lower-case letters"),
        ("kind: speech", "kind: education", 8, "needs a 'level'"),
        ("kind: speech", "kind: speech\n    level: 2", 10, "only kind 'education' has"),
        ("kind: speech", "kind: education\n    level: two", 10, "whole number"),
        ("name: mine", "name: mine\nauthor: me", 2, "unknown key 'author'"),
        ("version: 1\n", "", 1, "'version' is missing"),
        (
            "prompt: You are a pirate.",
            "prompt: Arr.\n  - id: p2\n    kind: speech\n    prompt: Arr.",
            11,
            "same prompt",
        ),
    ],
)
def test_a_fault_is_refused_with_file_line_and_mend(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert GOOD.count(old) == 1
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(PersonaSetError) as caught:
        read_persona_set(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "personas: []\n", "- a\n- b\n", GOOD[:45] + "personas: 3\n"])
def test_files_that_are_no_set_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PersonaSetError, match=r"set\.yaml:\d+: "):
        read_persona_set(written(tmp_path, text))


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_bytes(b"\xff\xfe\x00\x00\x81")
    with pytest.raises(PersonaSetError, match=r"set\.yaml"):
        read_persona_set(tmp_path / "set.yaml")
    with pytest.raises(PersonaSetError, match="no such file"):
        load_persona_set(str(tmp_path / "absent.yaml"))
    with pytest.raises(PersonaSetError, match="did you mean 'core'"):
        load_persona_set("coer")


def test_choosing_is_balanced_seeded_and_keeps_the_baseline() -> None:
    wide = load_persona_set("wide")
    chosen = wide.choose(20, seed=3)
    assert len(chosen) == 20
    assert chosen.personas[0].id == "none"
    counts = [sum(p.kind == kind for p in chosen) for kind in WITHOUT_PLACEBO]
    assert max(counts) - min(counts) <= 1
    assert [p.id for p in chosen] == [p.id for p in wide.choose(20, seed=3)]
    assert [p.id for p in chosen] != [p.id for p in wide.choose(20, seed=4)]
    order = {p.id: i for i, p in enumerate(wide)}
    assert [order[p.id] for p in chosen] == sorted(order[p.id] for p in chosen)


def test_choosing_kinds_and_impossible_choices() -> None:
    core = load_persona_set("core")
    assert {p.kind for p in core.choose(kinds=["expert", "harmful"])} == {"expert", "harmful"}
    with pytest.raises(PersonaSetError, match="no persona of kind 'wizard'"):
        core.choose(kinds=["wizard"])
    with pytest.raises(PersonaSetError, match="17 personas asked for"):
        core.choose(17)


def test_the_fingerprint_follows_the_prompts(tmp_path: Path) -> None:
    first = read_persona_set(written(tmp_path, GOOD))
    second = read_persona_set(written(tmp_path, GOOD.replace("a pirate", "the pirate")))
    third = read_persona_set(written(tmp_path, GOOD.replace("A set.", "Another.")))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == third.fingerprint


@pytest.mark.parametrize("name", sorted(bundled_sets()))
def test_a_set_that_is_written_is_read_back_the_same(name: str, tmp_path: Path) -> None:
    original = load_persona_set(name)
    assert read_persona_set(written(tmp_path, dump_persona_set(original))).personas == (
        original.personas
    )


def test_wide_and_train_are_the_sizes_and_kinds_they_promise() -> None:
    wide, train = load_persona_set("wide"), load_persona_set("train")
    assert len(wide) >= 100
    assert wide.kinds == WITHOUT_PLACEBO
    assert len(train) >= 64
    assert set(train.kinds) == set(WITHOUT_PLACEBO) - {"control"}
    words = [len(p.prompt.split()) for p in wide if p.prompt]
    assert min(words) <= 5
    assert max(words) >= 80


def test_train_shares_no_persona_and_no_near_copy_with_the_others() -> None:
    train = load_persona_set("train")
    others = [p for name in bundled_sets() if name != "train" for p in load_persona_set(name)]
    assert not {p.id for p in train} & {p.id for p in others}
    for persona in train:
        for other in others:
            for text in other.wordings:
                assert not near_copy(persona.prompt, text), (persona.id, text)


def test_a_near_copy_is_known_and_nothing_is_a_copy_of_no_prompt() -> None:
    persona = load_persona_set("core").personas[2].prompt
    assert near_copy(persona, persona.replace("professor", "teacher"))
    assert not near_copy("", "")
    assert not near_copy(persona, "")


@pytest.mark.parametrize(
    ("shared", "other", "is_copy"),
    [
        (8, 4, True),  # in other order: 8 of 12 words, 0.67
        (8, 6, False),  # 8 of 14 words, 0.57
    ],
)
def test_prompts_of_mostly_the_same_words_are_near_copies(
    shared: int, other: int, is_copy: bool
) -> None:
    words = [f"w{'abcdefgh'[n]}" for n in range(shared)]
    extra = [f"x{'abcdefgh'[n]}" for n in range(other)]
    assert near_copy(" ".join(words), " ".join([*reversed(words), *extra])) == is_copy


@pytest.mark.parametrize(("length", "is_copy"), [(8, True), (6, False)])
def test_prompts_that_share_runs_of_words_are_near_copies(length: int, is_copy: bool) -> None:
    """A run of 8 words is 6 of 16 runs of three, 0.375; one of 6 words 4 of 16, 0.25."""
    run = [f"w{'abcdefgh'[n]}" for n in range(length)]
    one = [*run, *(f"x{letter}" for letter in "abcdefgh"[: 13 - length])]
    other = [*run, *(f"y{letter}" for letter in "abcdefgh"[: 13 - length])]
    assert near_copy(" ".join(one), " ".join(other)) == is_copy


# ---------------------------------------------------------------------- wordings and placebos


def test_the_last_of_several_wordings_is_the_prompt(tmp_path: Path) -> None:
    loaded = read_persona_set(written(tmp_path, WORDED))
    none, pirate = loaded
    full = "You are a pirate, and talk like one."
    assert (pirate.prompt, pirate.wordings) == (full, ("You are a pirate.", full))
    assert pirate.asked("last") == [(2, full)]
    assert pirate.asked(1) == [(1, "You are a pirate.")]
    assert pirate.asked("all") == [(2, full), (1, "You are a pirate.")]
    assert none.asked(2) == [(1, "")]  # it has no other
    again = read_persona_set(written(tmp_path, dump_persona_set(loaded)))
    assert again.personas == loaded.personas
    with pytest.raises(PersonaSetError, match="no persona of 'mine' has more than 2: use 1 to 2"):
        loaded.worded(3)


def test_the_fingerprint_is_that_of_the_wordings_that_are_asked(tmp_path: Path) -> None:
    several = read_persona_set(written(tmp_path, WORDED))
    short = read_persona_set(written(tmp_path, GOOD))
    assert several.worded(1).fingerprint == short.fingerprint
    found = [several.worded(wording).fingerprint for wording in ("last", 1, "all")]
    assert len(set(found)) == 3
    # runs from before there were wordings recorded this one
    content = [("none", "control", ""), ("pirate", "speech", "You are a pirate.")]
    assert short.fingerprint == hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("prompts:\n", "prompt: Arr.\n    prompts:\n", 11, "both 'prompt' and 'prompts'"),
        ("      - You are a pirate.\n", "      - ''\n", 8, "none empty"),
        ("      - You are a pirate.\n", "      - Arr.\n      - Arr.\n", 8, "are the same"),
    ],
)
def test_faults_of_wordings_are_refused_with_their_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    path = written(tmp_path, WORDED.replace(old, new))
    with pytest.raises(PersonaSetError, match=words) as caught:
        read_persona_set(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_wordings_that_are_no_list_and_those_of_another_persona_are_refused(
    tmp_path: Path,
) -> None:
    for wrong, words in [
        ("You are a pirate.", "must be a list of texts"),
        ("[{a: b}]", "must be a list of texts"),
        ("[Arr, ]", ""),
        ("[]", "has no prompts"),
    ]:
        path = written(tmp_path, GOOD.replace("prompt: You are a pirate.", f"prompts: {wrong}"))
        if words:
            with pytest.raises(PersonaSetError, match=words):
                read_persona_set(path)
        else:
            assert read_persona_set(path).personas[1].prompt == "Arr"
    other = "  - {id: other, kind: speech, prompt: You are a pirate.}\n"
    with pytest.raises(PersonaSetError, match="same prompt as 'pirate'"):
        read_persona_set(written(tmp_path, WORDED + "\n" + other))


def test_placebos_stand_after_the_personas_of_another_set() -> None:
    core, placebos = load_persona_set("core"), load_persona_set("core-placebos")
    both = core.beside(placebos)
    assert [p.id for p in both] == [p.id for p in (*core, *placebos)]
    with pytest.raises(PersonaSetError, match="no persona of kind 'placebo': use core-placebos"):
        core.beside(load_persona_set("demo"))
    with pytest.raises(PersonaSetError, match="'placebo-glass' is used in"):
        both.beside(placebos)


def test_a_set_is_built_from_a_template(tmp_path: Path) -> None:
    built = build_persona_set(
        "schooling", "education", "You are {}.", ["a pupil", "a student", "a doctor of letters"]
    )
    assert [(p.id, p.level, p.prompt) for p in built][1:] == [
        ("a-pupil", 1, "You are a pupil."),
        ("a-student", 2, "You are a student."),
        ("a-doctor-of-letters", 3, "You are a doctor of letters."),
    ]
    assert read_persona_set(written(tmp_path, dump_persona_set(built))).personas == built.personas
    for template, kind, values, words in [
        ("You are.", "speech", ["a"], "must hold {} once"),
        ("You are {}.", "wizard", ["a"], "unknown kind"),
        ("You are {}.", "speech", ["a b", "A-B"], "no id of its own"),
    ]:
        with pytest.raises(PersonaSetError, match=words):
            build_persona_set("x", kind, template, values)


# ---------------------------------------------------------------------- what YAML and JSON hide


def one_prompt(scalar: str) -> str:
    return GOOD.replace("prompt: You are a pirate.", f"prompt: {scalar}")


@pytest.mark.parametrize(
    ("escaped", "wanted"),
    [
        (r'"You smile \ud83d\ude00 a lot"', "You smile 😀 a lot"),
        (r'"\uD83D\uDE00\ud83d\ude80"', "😀🚀"),
        (r'"caf\u00e9 \ud835\udd38"', "café 𝔸"),
        (r'"\U0001F600"', "😀"),
        ('"plain 😀"', "plain 😀"),
        (r"'\ud83d is text in single quotes'", r"\ud83d is text in single quotes"),
    ],
)
def test_surrogate_pairs_are_one_character(tmp_path: Path, escaped: str, wanted: str) -> None:
    loaded = read_persona_set(written(tmp_path, one_prompt(escaped)))
    assert loaded.personas[1].prompt == wanted
    assert loaded.personas[1].prompt.encode("utf-8").decode() == wanted
    assert loaded.fingerprint


def test_a_set_written_as_json_may_have_surrogate_pairs(tmp_path: Path) -> None:
    personas = [
        {"id": "none", "kind": "control", "prompt": ""},
        {"id": "smile", "kind": "speech", "prompt": "You are 😀."},
    ]
    told = {"name": "mine", "version": "1", "description": "🚀", "personas": personas}
    text = json.dumps(told, indent=1)  # ASCII: pairs of escapes
    assert r"\ud83d\ude00" in text
    loaded = read_persona_set(written(tmp_path, text))
    assert (loaded.personas[1].prompt, loaded.description) == ("You are 😀.", "🚀")


@pytest.mark.parametrize(
    ("escaped", "line"),
    [
        (r'"You smile \ud83d a lot"', 10),
        (r'"\ude00\ud83d"', 10),  # the wrong way round
        (r'"\ud83d \ude00"', 10),  # not beside each other
        (r'"\ud83d\ude00 \uDE00"', 10),
        ('"You smile\n      on the next line: \\ud83d."', 11),
        ('"\\ud83d\\ude00\n\n      \\udfff"', 12),
    ],
)
def test_half_of_a_surrogate_pair_is_refused_with_its_line(
    tmp_path: Path, escaped: str, line: int
) -> None:
    path = written(tmp_path, one_prompt(escaped))
    with pytest.raises(PersonaSetError, match=rf"set\.yaml:{line}: half of a surrogate pair"):
        read_persona_set(path)


@pytest.mark.parametrize(
    ("scalar", "prompt", "line"),
    [
        ("You write C #1 of all.", "You write C", 10),
        ("You love hashtags #pirate", "You love hashtags", 10),
        ("You speak\n      of things # and more", "You speak of things", 11),
        ("You are two words.   #", "You are two words.", 10),
        ("~tilde #5", "~tilde", 10),
    ],
)
def test_a_prompt_that_a_comment_cuts_off_is_warned_about(
    tmp_path: Path, scalar: str, prompt: str, line: int
) -> None:
    path = written(tmp_path, one_prompt(scalar))
    words = rf"set\.yaml:{line}: the prompt of 'pirate' ends before '#.*reads as a comment"
    with pytest.warns(UserWarning, match=words):
        loaded = read_persona_set(path)
    assert loaded.personas[1].prompt == prompt


@pytest.mark.parametrize(
    ("scalar", "prompt"),
    [
        ("C#1 of all", "C#1 of all"),
        ('"A #1 fan"', "A #1 fan"),
        ("'A #1 fan'  # a note", "A #1 fan"),
        (">-\n      A #1 fan", "A #1 fan"),
        ("|\n      A\n      #1", "A\n#1"),
        ("A fan\n\n  # a note between two personas", "A fan"),
    ],
)
def test_a_hash_that_cuts_nothing_is_not_warned_about(
    tmp_path: Path, scalar: str, prompt: str
) -> None:
    text = one_prompt(scalar).replace("kind: speech", "kind: speech  # a way to talk")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_persona_set(written(tmp_path, text)).personas[1].prompt == prompt


@pytest.mark.parametrize("name", sorted(bundled_sets()))
def test_bundled_sets_are_not_cut_off(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_persona_set(name)
