"""What is read of a judge's answer, and what is not taken for a score."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from persona_bench.benchmarks.rubrics import SCORES
from persona_bench.judge.prompts import read_examples
from persona_bench.judge.ratings import (
    AGAIN,
    ASKED,
    REASONS,
    SCHEMA,
    Form,
    Reading,
    read_answer,
)

WORDS = "Arr, that be a pirate."


def as_json(score: Any, **more: Any) -> str:
    return json.dumps({"justification": WORDS, "score": score, **more})


def outcome(text: str, form: Form, finish: str = "stop") -> int | str:
    """The score, or why there is none."""
    found = read_answer(text, form, finish=finish)
    assert (found.score is None) == bool(found.reason)
    return found.reason or found.score or 0


SCORES_GIVEN = [
    (1, 1),
    (5, 5),
    (4.0, 4),
    ("4", 4),
    (" 4 ", 4),
    ("4.", 4),
    ("4.0", 4),
    ("4/5", 4),
    ("4 / 5", 4),
    ("**4**", 4),
    ("**4/5**", 4),
    ("**4**/5", 4),
    ("4 out of 5", 4),
    ("(4)", 4),
    ("`4`", 4),
    ("[4]", 4),
    (0, "judge_out_of_range"),
    (6, "judge_out_of_range"),
    (-1, "judge_out_of_range"),
    (45, "judge_out_of_range"),
    (4.5, "judge_out_of_range"),
    ("4.5", "judge_out_of_range"),
    ("4.5/5", "judge_out_of_range"),
    ("4/10", "judge_out_of_range"),
    ("8/10", "judge_out_of_range"),
    ("4 out of 6", "judge_out_of_range"),
    ("9" * 400, "judge_out_of_range"),
    ("", "judge_unreadable"),
    ("four", "judge_unreadable"),
    ("4-5", "judge_unreadable"),
    ("3 or 4", "judge_unreadable"),
    ("4 5", "judge_unreadable"),
    ("4,5", "judge_unreadable"),
    ("about 4", "judge_unreadable"),
    ("4 points, or rather 3", "judge_unreadable"),
    ("4/5/5", "judge_unreadable"),
    ("4/", "judge_unreadable"),
    ("N", "judge_unreadable"),
]


@pytest.mark.parametrize(("given_", "expected"), SCORES_GIVEN)
def test_a_score_in_json(given_: Any, expected: int | str) -> None:
    assert outcome(as_json(given_), "json") == expected


@pytest.mark.parametrize(("given_", "expected"), SCORES_GIVEN)
def test_a_score_in_the_sentence(given_: Any, expected: int | str) -> None:
    assert outcome(f"{WORDS}\nTherefore, the final score is {given_}", "text") == expected


@pytest.mark.parametrize("given_", [True, False, None, [4], {"value": 4}, [], float("nan"), 1e300])
def test_what_is_no_number_is_no_score(given_: Any) -> None:
    assert outcome(as_json(given_), "json") == "judge_unreadable"


@pytest.mark.parametrize(
    "text",
    [
        as_json(4),
        f"\n {as_json(4)} \n",
        f"```json\n{as_json(4)}\n```",
        f"```\n{as_json(4)}\n```",
        f"``` {as_json(4)} ```\n",
        json.dumps({"score": 4, "justification": WORDS}, indent=2),
        as_json(4, confidence="high"),
    ],
)
def test_a_json_verdict(text: str) -> None:
    assert read_answer(text, "json") == Reading(4, "", WORDS)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 4}',
        '{"justification": null, "score": 4}',
        '{"justification": 4, "score": 4}',
        '{"justification": ["a"], "score": 4}',
        '{"justification": "a"}',
        '{"justification": "a", "Score": 4}',
        f"Here it is: {as_json(4)}",
        f"{as_json(4)} I hope that helps.",
        f"{as_json(4)}\n{as_json(5)}",
        f"```json\n{as_json(4)}",
        f"[{as_json(4)}]",
        "4",
        '"4"',
        "null",
        "Therefore, the final score is 4",
        as_json(4)[:-1],
        "[" * 100_000,
        '{"justification": "a", "score": ' + "9" * 5000 + "}",
    ],
)
def test_json_in_another_form_is_not_guessed_at(text: str) -> None:
    assert outcome(text, "json") == "judge_unreadable"


@pytest.mark.parametrize(
    "text",
    [
        f"{WORDS}\nTherefore, the final score is 4.",
        f"{WORDS} Therefore, the final score is 4",
        f"{WORDS}\n\nTherefore, the final score is **4**.",
        f"{WORDS}\n\n**Therefore, the final score is 4.**",
        f"{WORDS}\n\n**Therefore, the final score is: 4**\n\n",
        f"{WORDS}\nTherefore, the final score is: 4",
        f"{WORDS}\nTherefore, the final score is : 4",
        f"{WORDS}\ntherefore, the final score is 4",
        f"{WORDS}\nTHEREFORE THE FINAL SCORE IS 4!",
        f"{WORDS}\nTherefore,\nthe final  score is\n4",
        f"{WORDS}\nTherefore, the final score is 4/5.",
        f'{WORDS}\n"Therefore, the final score is 4."',
    ],
)
def test_a_verdict_in_text(text: str) -> None:
    found = read_answer(text, "text")
    assert (found.score, found.reason) == (4, "")
    assert found.justification.strip('"\n ') == WORDS


@pytest.mark.parametrize(
    "text",
    [
        "Score: 4",
        "4",
        "The final score is 4.",
        "Therefore, the score is 4.",
        as_json(4),
        "Therefore, the final score is 4.\nBut on second thoughts I am not so sure.",
        "Therefore, the final score is 4, as it is good.",
        "Therefore, the final score is",
        "Therefore, the final score is ...",
        "Therefore, the final score is N.",
    ],
)
def test_text_without_the_sentence_at_its_end_is_not_guessed_at(text: str) -> None:
    assert outcome(text, "text") == "judge_unreadable"


@pytest.mark.parametrize(("last", "expected"), [(2, 2), (6, "judge_out_of_range")])
def test_of_two_sentences_the_last_counts(last: int, expected: int | str) -> None:
    text = f"Therefore, the final score is 5. No:\nTherefore, the final score is {last}."
    assert outcome(text, "text") == expected


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_answer_without_a_verdict_says_why(form: Form) -> None:
    for nothing in ("", "   \n"):
        assert outcome(nothing, form) == "judge_empty"
        assert outcome(nothing, form, finish="length") == "judge_truncated"
        assert outcome(nothing, form, finish="content_filter") == "judge_refused"
    declined = "I'm sorry, but I can't help with rating this response."
    assert outcome(declined, form) == "judge_refused"
    assert outcome(WORDS, form) == "judge_unreadable"
    assert outcome(WORDS, form, finish="length") == "judge_truncated"
    assert read_answer(WORDS, form, finish="length").justification == WORDS
    # None is what some servers send
    assert read_answer(None, form).reason == "judge_empty"  # type: ignore[arg-type]


def test_a_cut_off_answer_counts_where_its_verdict_is_whole() -> None:
    assert outcome(as_json(4), "json", finish="length") == 4
    assert outcome(as_json(4)[:-3], "json", finish="length") == "judge_truncated"
    assert outcome("Therefore, the final score is 4", "text", finish="length") == 4
    assert outcome("Therefore, the final score is", "text", finish="length") == "judge_truncated"
    assert outcome(as_json(6), "json", finish="length") == "judge_truncated"


def test_a_withheld_answer_is_refused_whatever_it_says() -> None:
    assert outcome(as_json(4), "json", finish="content_filter") == "judge_refused"


def test_a_justification_that_speaks_of_a_refusal_is_still_a_verdict() -> None:
    text = json.dumps({"justification": "It says: I can't help with that.", "score": 1})
    assert outcome(text, "json") == 1


def test_what_is_asked_for_is_what_is_read() -> None:
    """The two forms by their own words, and the schema that servers hold a judge to."""
    assert (
        outcome(ASKED["json"].split("else: ")[1].split(". The")[0].replace("N}", "3}"), "json") == 3
    )
    assert outcome("Fine.\n" + ASKED["text"].rsplit("\n")[-1].replace("N", "3"), "text") == 3
    schema = SCHEMA["json_schema"]["schema"]
    assert schema["properties"]["score"]["enum"] == list(SCORES) == [1, 2, 3, 4, 5]
    assert list(schema["properties"]) == schema["required"] == ["justification", "score"]
    assert "{asked}" in AGAIN


# ---------------------------------------------------------------------- any text

PIECES = st.sampled_from(
    [
        "Therefore, the final score is ", "therefore the final score is", "4", "**4**", "4/5", "6",
        "4.5", " out of 5", ".", "\n", "```json\n", "```", '{"justification": "', '", "score": ',
        "}", '"', "\\ud83d", "\\u0000", "null", "I can't help with that.", " ", "Score 1: ",
        "Score 2: Response - ", "Score 3:", "Score 4: a", "Score 5: b", "-----", "٤", "\ud800",
        "NaN", "-", "1e5",
    ]
)  # fmt: skip
ANY_TEXT = st.one_of(
    st.text(st.characters(), max_size=200),
    st.lists(PIECES, max_size=12).map("".join),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["justification", "score", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    ).map(json.dumps),
)


@settings(max_examples=600, deadline=None)
@given(
    ANY_TEXT,
    st.sampled_from(["json", "text"]),
    st.sampled_from(["stop", "length", "content_filter", ""]),
)
@example('{"justification": "\\ud800", "score": 4}', "json", "stop")
@example("half a pair: \ud800", "text", "stop")
def test_any_text_gives_a_reading(text: str, form: Form, finish: str) -> None:
    found = read_answer(text, form, finish=finish)
    assert (found.score in SCORES) == (found.reason == "")
    assert found.score is None or (type(found.score) is int and 1 <= found.score <= 5)
    assert found.score is not None or found.reason in REASONS
    found.justification.encode()  # it goes into a file
    read_examples(text)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SCORES), st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_whatever_the_justification_says_the_score_is_the_one_given(score: int, words: str) -> None:
    text = json.dumps({"justification": words, "score": score})
    assert read_answer(text, "json") == Reading(score, "", words)
    text = f"{words}\nTherefore, the final score is {score}."
    assert read_answer(text, "text").score == score


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "text",
    [
        "Therefore, the final score is 4" + "*" * 60_000 + "x",
        "Therefore, the final score is 4" + " " * 60_000 + "x",
        "Therefore, the final score is " + "*" * 60_000 + "x",
        "Therefore, the final score is " * 3_000,
        "Therefore," + " " * 60_000 + "x",
        "```" + "\n" * 60_000 + "x",
        "```json\n{" + " \n" * 30_000 + "x",
        "```json\n{" + " \n" * 30_000 + "}```",
        '{"justification": "a", "score": "4' + "*" * 60_000 + 'x"}',
        "Score 1:" * 8_000,
        "Score " + "1" * 60_000 + ":",
        " \t*#>-" * 10_000,
        "\n" * 60_000 + "Score",
        "Score 1:" + "*" * 60_000 + "Response" + " *" * 30_000,
    ],
    ids=range(14),
)
def test_an_endless_answer_is_read_at_once(text: str, form: Form) -> None:
    """Judges get stuck, in white space above all; whoever reads must not."""
    started = time.process_time()
    read_answer(text, form)
    read_examples(text)
    assert time.process_time() - started < 1


# ---------------------------------------------------------------------- examples

WHOLE = "\n\n".join(f"Score {n}: Response - example {n}" for n in SCORES)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        WHOLE.replace("Score", "**Score").replace(":", ":**"),
        WHOLE.replace("Score", "## score"),
        WHOLE.replace("Response - ", '"').replace("\n\n", '"\n\n') + '"',
        WHOLE.replace("Response - ", "\n"),
        f"Here you are:\n-----------\n{WHOLE}\n-------------------------",
        "\n\n".join(reversed(WHOLE.split("\n\n"))),
        WHOLE + "\n\nScore 5: Response - another",
    ],
)
def test_examples_are_read(text: str) -> None:
    assert read_examples(text) == "\n\n".join(f'Score {n}: "example {n}"' for n in SCORES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I can't help with that.",
        WHOLE.replace("Score 3", "Level 3"),
        WHOLE.replace("Response - example 4", ""),
        WHOLE.replace("Response - example 4", "Response -"),
        WHOLE.replace("Score 5", "Score 6"),
        WHOLE.split("Score 5")[0],
    ],
)
def test_examples_that_lack_a_score_are_none(text: str) -> None:
    assert read_examples(text) == ""
