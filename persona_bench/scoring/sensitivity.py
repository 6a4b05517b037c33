"""Does the conclusion depend on how strictly answers are read?

    from persona_bench import grader_sensitivity, read_outcomes

    result = grader_sensitivity(read_outcomes("results/my-run"))
    print(result.table, result.strict.pss, result.disagree)

The maths grader reads the answer from a box, an `<answer>` tag or a sentence that states it, and
otherwise takes the last number or expression of the response. A persona can change how an answer is
written without changing how well the model calculates; comparing the two graders shows how much.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pandas as pd

from persona_bench.scoring.cells import check
from persona_bench.scoring.estimate import plain
from persona_bench.scoring.stability import Stability, stability

ROUTES = ("boxed", "tag", "stated", "last")
"""The ways in which the maths grader finds an answer (`Verdict.route`)."""

STRICT_ROUTES = ROUTES[:-1]
"""The ways that a strict grader accepts."""

UNFOUND = "none"
"""The column with the share of responses in which no answer was found."""

COMPARED = ("mean", "pss", "pss_corrected")
"""The metrics that are given for both graders."""


@dataclass(frozen=True)
class GraderSensitivity:
    """What a strict grader would find, beside what the grader found.

    A strict grader accepts a boxed, tagged or stated answer. An answer that was found by the route
    `last` (the last number or expression) is then `wrong: no_answer`.
    """

    table: pd.DataFrame
    """One row per persona, in the order of `Stability.per_persona`: persona, kind, n (responses),
    the share of them with each route (boxed, tag, stated, last; `none`: no answer was found; the
    five add up to 1), accuracy as graded, and strict_accuracy."""
    headline: Stability
    """Stability as graded."""
    strict: Stability
    """Stability under the strict grader, with the same settings and seed."""

    @property
    def disagree(self) -> bool:
        """Whether the two graders lead to different conclusions (`Stability.conclusion`)."""
        return self.headline.conclusion != self.strict.conclusion

    def to_dict(self) -> dict[str, Any]:
        """Both graders' numbers, and the table as `per_persona`, as data for JSON."""
        out: dict[str, Any] = {"strict_routes": list(STRICT_ROUTES), "disagree": self.disagree}
        for name, result in (("headline", self.headline), ("strict", self.strict)):
            record = result.to_dict()
            out[name] = {metric: record[metric] for metric in (*COMPARED, "conclusion")}
        return {**out, "per_persona": plain(self.table)}


def has_routes(outcomes: pd.DataFrame) -> bool:
    """Whether the outcomes record how all answers were found (only maths graders do)."""
    if not {"route", "reason"} <= set(outcomes.columns):
        return False
    # only right and wrong answers were compared with the reference: each of them has a route
    reason = outcomes["reason"].fillna("")
    compared = outcomes["correct"].notna() & reason.isin(("", "wrong_answer"))
    recorded = outcomes["route"].isin(ROUTES)
    return bool(recorded.any() and recorded[compared].all())


def grader_sensitivity(
    outcomes: pd.DataFrame, headline: Stability | None = None
) -> GraderSensitivity:
    """Compare the accuracy and PSS as graded with those that a strict grader would give.

    Args:
        outcomes: One model's outcomes on one maths benchmark, as `stability` takes them, with the
            columns `reason` and `route` (`read_outcomes` has both).
        headline: `stability(outcomes)` where it is already there; its settings and seed are used.

    Raises:
        ValueError: a table that `stability` would refuse, or responses without a route.
    """
    table = check(outcomes)
    if not has_routes(table):
        raise ValueError(
            "it is not recorded how the answers were found (column route), or not of all of them: "
            "only maths graders record it, and results from older versions have to be graded again "
            "with persona-bench score --regrade"
        )
    if headline is None:
        headline = stability(table)
    strict = headline
    last = table["route"] == "last"
    if last.any():
        graded = table.assign(
            correct=table["correct"].mask(last, 0.0),
            reason=table["reason"].mask(last, "no_answer"),
        )
        if "verdict" in graded.columns:
            graded["verdict"] = graded["verdict"].mask(last, "wrong")
        names = ("confidence", "resamples", "seed", "stable_from", "stratify", "population")
        with warnings.catch_warnings():  # the same were given with the headline
            warnings.simplefilter("ignore")
            strict = stability(graded, **{name: getattr(headline, name) for name in names})
    return GraderSensitivity(_table(table, headline, strict), headline, strict)


def _table(table: pd.DataFrame, headline: Stability, strict: Stability) -> pd.DataFrame:
    route = table["route"].where(table["route"].isin(ROUTES), UNFOUND)
    shares = pd.crosstab(table["persona"], route, normalize="index").reindex(
        columns=[*ROUTES, UNFOUND], fill_value=0.0
    )
    shares.insert(0, "n", table["persona"].value_counts())
    frame = headline.per_persona[["persona", "kind"]].join(shares, on="persona")
    for name, result in (("accuracy", headline), ("strict_accuracy", strict)):
        frame[name] = frame["persona"].map(result.per_persona.set_index("persona")["accuracy"])
    return frame.rename_axis(columns=None)
