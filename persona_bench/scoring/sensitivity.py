"""How far the results hang on the grader: the routes by which answers were found.

    from persona_bench import grader_sensitivity, read_outcomes

    result = grader_sensitivity(read_outcomes("results/my-run"))
    print(result.table, result.sentence)

A persona changes how a model writes, and a grader reads one manner of writing more easily than
another. An answer in a box, in a tag or in a sentence that states it is beyond doubt; the *last*
number of a text is a guess of the grader's. So everything is also computed as a strict grader would
have it, to which an answer that was only found last is no answer.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pandas as pd

from persona_bench.scoring.cells import check
from persona_bench.scoring.stability import Stability, stability

ROUTES = ("boxed", "tag", "stated", "last")
"""How an answer may have been found, the surest first."""
STRICT = ("boxed", "tag", "stated")
"""Routes that a strict grader accepts."""


@dataclass(frozen=True)
class Sensitivity:
    """The same responses by the grader as it is and by a strict one."""

    table: pd.DataFrame
    """One row per persona: `persona`; the share of its scored responses whose answer was found by
    each route (`boxed`, `tag`, `stated`, `last`) or not at all (`none`); `accuracy`; `strict`, the
    accuracy by the strict grader."""
    headline: Stability
    strict: Stability

    @property
    def agree(self) -> bool:
        """Whether both lead to the same conclusion (`stable`, `unstable`, `undetermined`)."""
        return self.headline.conclusion == self.strict.conclusion

    @property
    def sentence(self) -> str:
        """What a reader has to know, in one sentence; empty where no answer was found last."""
        share = float(self.table["last"].mean())
        if not share:
            return ""
        numbers = (
            f"corrected PSS {_interval(self.headline)} and {self.headline.conclusion} as graded, "
            f"{_interval(self.strict)} and {self.strict.conclusion} by a strict grader"
        )
        if self.agree:
            return f"{share:.1%} of the answers were the last number or expression only: {numbers}."
        return (
            f"The conclusion depends on the grader: {share:.1%} of the answers were the last "
            f"number or expression only, {numbers}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "routes": self.table.to_dict("records"),
            "strict": self.strict.to_dict(),
            "agree": self.agree,
            "sentence": self.sentence,
        }


def grader_sensitivity(
    outcomes: pd.DataFrame, headline: Stability | None = None, **settings: Any
) -> Sensitivity | None:
    """Compare the grader with a strict one, for one model and one task.

    Args:
        outcomes: As `stability` takes them, with the column `route`.
        headline: The stability of these outcomes, where it has been computed already.
        settings: As for `stability`, for the strict grader and for a headline that is not given.

    Returns:
        None where no route is recorded: other graders than that of maths, and older runs.

    Raises:
        ValueError: a table that `stability` would refuse.
    """
    if "route" not in outcomes.columns or not outcomes["route"].isin(ROUTES).any():
        return None
    table = check(outcomes)
    scored = table["correct"].notna()
    found_last = scored & (table["route"] == "last")
    strict = table.assign(correct=table["correct"].where(~found_last, 0.0))
    for name, value in (("verdict", "wrong"), ("reason", "no_answer")):
        if name in strict.columns:
            strict[name] = strict[name].where(~found_last, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in the headline's notes
        headline = stability(table, **settings) if headline is None else headline
        return Sensitivity(
            table=_shares(table[scored], strict[scored]),
            headline=headline,
            strict=stability(strict, **settings) if found_last.any() else headline,
        )


def _shares(table: pd.DataFrame, strict: pd.DataFrame) -> pd.DataFrame:
    route = table["route"].where(table["route"].isin(ROUTES), "none")
    shares = pd.crosstab(table["persona"], route, normalize="index")
    shares = shares.reindex(columns=[*ROUTES, "none"], fill_value=0.0).rename_axis(columns=None)
    shares["accuracy"] = table.groupby("persona")["correct"].mean()
    shares["strict"] = strict.groupby("persona")["correct"].mean()
    order = shares.sort_values(["accuracy"], ascending=False, kind="stable")
    return order.rename_axis(index="persona").reset_index()


def _interval(result: Stability) -> str:
    low, high = result.pss_corrected_interval
    return f"{result.pss_corrected:.3f} [{low:.3f}, {high:.3f}]"
