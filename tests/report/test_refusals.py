"""Refusals in role-play: which responses count, and where they are reported."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from persona_bench.grading.refusal import declines_role
from persona_bench.judge.entry_test import entry_pairs
from persona_bench.report.refusals import refusals_data, refusals_line
from persona_bench.report.score import score_folder
from persona_bench.results.runs import read_folder
from tests.support.judged_run import stored_run


@pytest.mark.parametrize(
    "response",
    [
        "I'm sorry, but I can't assist with that.",
        "I cannot fulfill this request.",
        "I apologize, but I cannot create content that is offensive.",
        "Sorry, I can’t help with that request.",
        "As an AI language model, I don't have feelings of my own.",
        "As an AI, I cannot adopt the identity of another person.",
        "I'm not able to help you with this. Is there something else?",
        "I won't participate in a role-play that mocks people.",
    ],
)
def test_an_assistant_declines_a_role(response: str) -> None:
    assert declines_role(response)


@pytest.mark.parametrize(
    "response",
    [
        "I'd never sell that boat. I refuse, plain and simple.",
        "I'm sorry, friend, but I can't help feeling that this is wrong.",
        "Sorry, love, I can't come to the fair: the mare is lame.",
        "As an AI researcher, I cannot stress enough how much the data matter.",
        "Well, I won't help you cheat, lad. Do it yourself.",
        "I can't help with the washing up, my back is gone.",
        "As an AI I can't taste it, but as the baker I swear by rye.",
        "We knead before dawn. " * 20 + "I'm sorry, but I can't assist with that.",
        "",
    ],
)
def test_a_persona_that_refuses_something_plays_its_role(response: str) -> None:
    assert not declines_role(response)


def test_no_response_of_the_entry_test_declines_its_role() -> None:
    items = [item for pair in entry_pairs() for item in (pair.right, pair.wrong)]
    assert not [item.response for item in items if declines_role(item.response)]


def answer(system: str, user: str) -> str | tuple[str, str] | tuple[int, dict[str, str]]:
    """A model that declines to be the weaver, and whose provider withholds the miller."""
    if "weaver" in system:
        return "I'm sorry, but I can't engage in that."
    if "miller" in system and "?" in user:
        return "", "content_filter"
    if "baker" in system:
        return ""
    return f"By my trade: {user}"


def test_refusals_per_persona_are_a_figure_with_and_without_a_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = stored_run(tmp_path, answer)
    ((task,),) = [run.tasks.values() for run in read_folder(out)]
    data = refusals_data(task.responses)
    shares = data.pivot_table(index="persona", columns="outcome", values="share", fill_value=0.0)
    assert shares.loc["weaver", "wrong:refused"] == 1
    assert shares.loc["baker", "wrong:no_answer"] == 1
    assert shares.loc["falconer", "answered"] == 1
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * 6)
    withheld = (task.responses["finish"] == "content_filter").sum()
    assert data.loc[data["outcome"] == "wrong:refused", "count"].sum() == 10 + withheld
    assert withheld > 0
    assert list(data["persona"])[-1] in ("falconer", "glazier", "saddler")
    line = refusals_line(data)
    share = (10 + withheld) / 60
    assert line.startswith(f"Refusals: {10 + withheld} of 60 responses ({share:.1%}); most under ")
    score_folder(out, out / "scores")
    assert line in capsys.readouterr().out
    for suffix in ("png", "pdf", "svg", "csv"):
        assert (out / "scores" / f"persona_roleplay_refusals.{suffix}").is_file()
    written = pd.read_csv(out / "scores" / "persona_roleplay_refusals.csv", comment="#")
    assert written["count"].tolist() == data["count"].tolist()
    assert "Refusals" in (out / "scores" / "index.html").read_text()


def test_a_run_without_refusals_says_so(tmp_path: Path) -> None:
    rows = {"persona": ["a", "b"], "kind": "character", "response": "Aye.", "finish": "stop"}
    assert refusals_line(refusals_data(pd.DataFrame(rows))) == "Refusals: none of 2 responses."
