"""The terminal report: every persona, the right words, at any width."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console

from persona_bench.report.tables import (
    FAMILY,
    conclusion,
    extremes,
    how_little,
    meaning,
    print_stability,
    printable,
    with_ties,
)

SPREAD = [0.8, 0.7, 0.6, 0.5, 0.1, 0.1]


def printed(result, *, width=100, title="m on t", **console) -> str:
    out = io.StringIO()
    print_stability(result, title=title, console=Console(file=out, width=width, **console))
    return out.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_persona_has_its_numbers_best_first(made_up) -> None:
    result = made_up(SPREAD)
    text = printed(result)
    at = []
    for row in result.per_persona.to_dict("records"):
        line = next(line for line in text.splitlines() if line.startswith(f" {row['persona']} "))
        shown = [row["kind"], f"{row['accuracy']:.3f}", f"[{row['low']:.3f}, {row['high']:.3f}]"]
        assert words(line).startswith(words(f"{row['persona']} {' '.join(shown)} {row['n']}"))
        at.append(text.index(line))
    assert at == sorted(at)


@pytest.mark.parametrize("width", [80, 200])
def test_every_persona_has_its_expected_accuracy_with_a_band(made_up, width: int) -> None:
    result = made_up(SPREAD)
    lines = printed(result, width=width).splitlines()
    for row in result.per_persona.to_dict("records"):
        line = [line for line in lines if line.startswith(f" {row['persona']} ")][-1]
        band = f"[{row['shrunken_low']:.3f}, {row['shrunken_high']:.3f}]"
        assert f"{row['shrunken']:.3f} {band}" in words(line)
    assert "its bands hold for all personas at once" in words(" ".join(lines))


@pytest.mark.parametrize("width", [80, 120, 200])
def test_failures_are_counted_and_no_line_is_too_long(made_up, width: int) -> None:
    result = made_up(SPREAD)
    text = printed(result, width=width)
    assert max(map(len, text.splitlines())) <= width
    worst = result.per_persona.iloc[-1]
    counts = sorted((worst["wrong:wrong_answer"], worst["wrong:no_answer"]), reverse=True)
    line = [line for line in text.splitlines() if line.startswith(f" {worst['persona']} ")][-1]
    assert [int(n) for n in line.split()[-2:]] == counts
    assert "truncated" not in text
    assert "unscored" not in text


def test_each_metric_stands_with_its_interval_and_definition(made_up) -> None:
    result = made_up(SPREAD)
    text = printed(result)
    recorded = [name for name in FAMILY if not name.startswith("answer_")]
    assert "answer_" not in text  # no answers are recorded in this table
    for name in recorded:
        low, high = getattr(result, name).interval
        value = re.escape(f"{getattr(result, name):.3f}")
        ends = re.escape(f"[{low:.3f}, {high:.3f}]")
        assert re.search(rf"^ {name} +{value} +{ends} +\w", text, re.MULTILINE), name
    assert f"standard error {result.mean_se:.3f}" in words(text)
    low, high = result.pss_corrected.interval
    ends = re.escape(f"[{low:.3f}, {high:.3f}]")
    assert re.search(rf"corrected PSS +{result.pss_corrected:.3f} +{ends}", text)
    assert re.search(rf"plain PSS +{result.pss:.3f} +[^\[ ]", text)  # no interval of its own
    assert re.search(rf"noise floor +{result.noise_floor:.3f} +\[", text)
    assert "40 questions x 6 personas x 1 sample (240 responses)" in text
    assert f"Worst persona: {result.worst_persona}, accuracy {result.worst:.3f} [" in text
    best = ", ".join(result.best_personas)
    assert len(result.best_personas) == 2
    assert f"Best personas: {best} (tie), accuracy {result.best:.3f} [" in text


def test_an_effect_is_called_one(made_up) -> None:
    result = made_up(SPREAD)
    assert result.p_value < 0.05
    expected = "Personas change this model's accuracy more than chance would (p = 0.005)."
    assert meaning(result) == expected
    assert expected in words(printed(result))


def test_chance_is_called_chance(made_up) -> None:
    result = made_up([0.5] * 6)
    assert result.p_value > 0.05
    text = words(printed(result))
    assert "This spread is no larger than chance alone would give on 40 questions (p = 0." in text
    assert "more than chance would" not in text


def test_unscored_responses_are_counted_with_the_bounds_they_leave(made_up) -> None:
    result = made_up(SPREAD, unscored=0.1)
    text = words(printed(result, width=140))
    assert f"Unscored: {result.unscored} of 240 responses (api_error {result.unscored})" in text
    low, high = result.pss_bounds
    assert f"PSS lies within [{low:.3f}, {high:.3f}]" in text
    assert "unscored" in text.split("metric")[0]


def test_nothing_scored_is_said(made_up) -> None:
    text = words(printed(made_up([0.5, 0.5], unscored=1.0)))
    assert "nothing can be said about this model" in text
    assert "nan" not in text
    assert "no response is scored" in text
    assert "Worst persona" not in text


def test_all_wrong_is_not_called_instability(made_up) -> None:
    text = words(printed(made_up([0.0] * 4)))
    assert "whether personas matter can't be told" in text
    assert "more than chance would" not in text
    assert "Worst persona" not in text


def test_one_persona_can_not_be_compared(made_up) -> None:
    text = words(printed(made_up([0.5])))
    assert "Only one persona is scored: whether personas matter can't be told." in text
    assert "p-value n/a" in text


def test_names_are_shown_as_they_are(made_up) -> None:
    names = ["none", "[red]angry[/red]", "$x_1$", "\\alpha {b}", "[/]", ":smile:"]
    result = made_up(SPREAD, names=names)
    text = printed(result, width=120, title="[bold]m[/bold] on [link=x]t", no_color=True)
    for name in [*names, "[bold]m[/bold] on [link=x]t"]:
        assert name in text


def test_a_name_can_not_drive_the_terminal(made_up) -> None:
    result = made_up([0.9, 0.1], names=["none", "a\x1b[31mb\nc\u202ed"])
    text = printed(result, width=120, title="t\x1b]0;owned\x07")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a\\x1b[31mb\\nc\\u202ed" in text
    assert printable("é 数 ok") == "é 数 ok"


def test_our_own_words_are_ascii_and_colourless(made_up) -> None:
    # an 8-bit terminal shows them, and so does a pipe
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    print_stability(made_up(SPREAD), title="t", console=Console(file=out, width=80))
    out.flush()
    assert b"persona-1" in raw.getvalue()
    assert b"\x1b" not in raw.getvalue()


def test_a_very_long_name_is_folded_not_cut(made_up) -> None:
    name = "".join(f"part{i:02d}-" for i in range(30))
    text = printed(made_up([0.9, 0.1], names=["none", name]), width=80)
    assert max(map(len, text.splitlines())) <= 80
    table = text.split("accuracy:")[0].splitlines()
    folded = "".join(line.split()[0] for line in table if "part" in line or "-" in line[:30])
    assert name in folded.replace("none", "")


def test_a_second_persona_without_scores_is_no_comparison(made_up) -> None:
    result = made_up([0.5, 0.5])
    lost = result.per_persona.assign(n=[40, 0])
    assert "can't be told" in meaning(dataclasses.replace(result, per_persona=lost))


def test_a_small_table_says_how_little_it_can_tell(made_up) -> None:
    small, large = made_up([0.5] * 6, questions=30), made_up([0.5] * 6, questions=100)
    low, high = small.noise_floor.interval
    told = words(printed(small))
    assert "A wide range is possible with 30 questions" in told
    assert f"a plain PSS between {low:.3f} and {high:.3f} in 95% of runs by chance alone" in told
    assert "A wide range" not in printed(large)
    assert "A wide range" not in words(printed(made_up([0.5], questions=30)))


# ------------------------------------------------------------------ sentences that say something
@pytest.mark.parametrize("chance", [0.0, 1.0])
@pytest.mark.parametrize("questions", [4, 30])
def test_where_no_verdict_varies_nothing_is_said_of_ranges(
    made_up, chance: float, questions: int
) -> None:
    result = made_up([chance] * 3, questions=questions)
    text = words(printed(result))
    assert how_little(result) == ""
    assert ("power" in text) == (chance == 1.0)  # nothing is correct: no PSS is defined
    assert "PSS between" not in text
    assert ("Every persona has the same accuracy, 1.000" in text) == (chance == 1.0)


def test_equal_accuracies_are_called_equal(made_up) -> None:
    result = made_up([0.5] * 3)
    table = result.per_persona.assign(accuracy=0.5)
    equal = dataclasses.replace(result, spread=0.0, worst=0.5, best=0.5, per_persona=table)
    assert meaning(equal).startswith("Every persona has the same accuracy, 0.500; 40 questions")
    assert extremes(equal) == []


@pytest.mark.parametrize(
    ("detectable", "word", "said"),
    [
        (0.283, "undetermined", "80% power to detect a PSS of 0.283 or lower."),
        (0.0, "undetermined", "less than 80% power to detect even one persona"),
        (0.0004, "undetermined", "less than 80% power to detect even one persona"),
        (0.0, "unstable", ""),
        (1.0, "undetermined", ""),
        (float("nan"), "undetermined", ""),
    ],
)
def test_the_power_of_a_run_is_told_where_it_is_information(
    made_up, detectable: float, word: str, said: str
) -> None:
    result = dataclasses.replace(made_up(SPREAD), minimum_detectable=detectable, conclusion=word)
    text = conclusion(result)
    assert text.startswith(f"Conclusion: {word} (")
    assert said in text
    assert ("power" in text) == bool(said)
    for empty in ("0.000", "1.000", "n/a"):
        assert empty not in text


# ---------------------------------------------------------------------------------- ties
@pytest.fixture
def tied(made_up):
    """Two personas are worst, three are best."""
    names = ["none", "sleeper", "hater", "chef", "pirate", "poet"]
    return made_up([1.0, 0.0, 0.0, 1.0, 0.6, 1.0], names=names)


@pytest.mark.parametrize("width", [80, 120])
def test_personas_that_share_the_worst_or_best_accuracy_are_named_as_a_tie(tied, width) -> None:
    text = words(printed(tied, width=width))
    assert "Worst personas: hater, sleeper (tie), accuracy 0.000 [" in text
    assert "Best personas: chef, none, poet (tie), accuracy 1.000 [" in text
    assert "n = 40 each" in text


def test_a_tie_of_unequal_precision_has_no_common_interval(tied) -> None:
    table = tied.per_persona
    table = table.assign(n=table["n"].where(table["persona"] != "hater", 20))
    line, _ = extremes(dataclasses.replace(tied, per_persona=table))
    assert line == "Worst personas: hater, sleeper (tie), accuracy 0.000"


def test_a_tie_is_in_the_exported_data_too(tied) -> None:
    told = tied.to_dict()
    assert (told["worst_persona"], told["worst_personas"]) == ("hater", ["hater", "sleeper"])
    assert (told["best_persona"], told["best_personas"]) == ("chef", ["chef", "none", "poet"])


def test_of_a_long_tie_the_first_names_are_given() -> None:
    assert with_ties(["a"]) == "a"
    assert with_ties(["a", "b"]) == "a, b (tie)"
    assert with_ties(list("abcdefgh")) == "a, b, c, d, e and 3 more (tie)"


def test_nothing_scored_is_no_tie(made_up) -> None:
    result = made_up([0.5, 0.5], unscored=1.0)
    assert (result.worst_personas, result.best_personas) == ([], [])
    partly = made_up([0.5, 0.2, 0.9])
    table = partly.per_persona
    lost = table["persona"] == partly.worst_persona
    table = table.assign(accuracy=table["accuracy"].mask(lost))
    assert partly.worst_persona not in dataclasses.replace(partly, per_persona=table).worst_personas


def test_the_conclusion_gives_its_reason(made_up) -> None:
    result = made_up(SPREAD)
    told = conclusion(result)
    assert told.startswith(f"Conclusion: {result.conclusion} (the interval of the corrected PSS")
    assert f"probability of a PSS below 0.95: {result.probability_unstable:.0%}" in told
    assert f"80% power to detect a PSS of {result.minimum_detectable:.3f} or lower" in told
    why = "undetermined because responses are not unscored at random: 0.0% under a and 9.0% under b"
    told = conclusion(dataclasses.replace(result, conclusion="undetermined", why_undetermined=why))
    assert told.startswith(f"Conclusion: {why}.")
