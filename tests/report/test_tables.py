"""The terminal report: every persona, the right words, at any width."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console

from persona_bench.report.tables import FAMILY, conclusion, meaning, print_stability, printable

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
    for name in FAMILY:
        low, high = getattr(result, f"{name}_interval")
        value = re.escape(f"{getattr(result, name):.3f}")
        ends = re.escape(f"[{low:.3f}, {high:.3f}]")
        assert re.search(rf"^ {name} +{value} +{ends} +\w", text, re.MULTILINE), name
    assert f"standard error {result.mean_se:.3f}" in words(text)
    low, high = result.pss_corrected_interval
    ends = re.escape(f"[{low:.3f}, {high:.3f}]")
    assert re.search(rf"corrected PSS +{result.pss_corrected:.3f} +{ends}", text)
    assert re.search(rf"plain PSS +{result.pss:.3f} +[^\[ ]", text)  # no interval of its own
    assert re.search(rf"noise floor +{result.noise_floor:.3f} +\[", text)
    assert "40 questions x 6 personas x 1 sample (240 responses)" in text
    worst, best = result.worst_persona, result.best_persona
    assert f"Worst persona: {worst}, accuracy {result.worst:.3f} [" in text
    assert f"Best persona: {best}, accuracy {result.best:.3f} [" in text


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
    low, high = small.noise_floor_interval
    told = words(printed(small))
    assert "30 questions can't tell much" in told
    assert f"a plain PSS between {low:.3f} and {high:.3f} in 95% of runs" in told
    assert "can't tell much" not in printed(large)
    assert "can't tell much" not in words(printed(made_up([0.5], questions=30)))


def test_the_conclusion_gives_its_reason(made_up) -> None:
    result = made_up(SPREAD)
    told = conclusion(result)
    assert told.startswith(f"Conclusion: {result.conclusion} (the interval of the corrected PSS")
    assert f"probability of a PSS below 0.95: {result.probability_unstable:.0%}" in told
    assert f"80% power to detect a PSS of {result.minimum_detectable:.3f} or lower" in told
    why = "undetermined because responses are not unscored at random: 0.0% under a and 9.0% under b"
    told = conclusion(dataclasses.replace(result, conclusion="undetermined", why_undetermined=why))
    assert told.startswith(f"Conclusion: {why}.")
