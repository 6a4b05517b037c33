"""How often is a run that stops early wrong, and what does it save? Models whose truth is known.

    python -m scripts.stopping_study --replicates 150 --csv results/stopping/stopping.csv.gz
    python -m scripts.stopping_study --show --csv results/stopping/stopping.csv.gz

Tables are simulated as in scripts/calibrate.py, with persona effects scaled so that the true PSS is
a given number: for the error just where a wrong word is most likely (.95 and .94), for the savings
from .5 to .9. Every table is looked at as `persona_bench.scoring.sequential` plans it. The file has
one row per table with the share of posterior draws from a PSS of .95 on at each look, from which
`--show` finds the words; docs/stopping.md has what came out.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.corrected import STABLE_FROM, TAIL
from persona_bench.scoring.gate import combined, criteria_of, lower_bounds
from persona_bench.scoring.sequential import FEWEST, planned_looks, tail_levels
from scripts.calibrate import BATCH, greedy_verdicts, posteriors
from scripts.simulation import EASE_SD, cells_of, expected, markdown

CONFIDENCE = 0.95
FEWEST_SIMULATED = 30
"""Questions from which on there are looks in the file; the plan takes those from `FEWEST` on."""


class Setting(NamedTuple):
    part: str
    """`error` or `savings`."""
    mean: float
    """Mean accuracy over the personas."""
    questions: int
    personas: int
    samples: int
    shape: str
    """Of the persona effects: `none`, `one harmful`, `normal` or `two groups`."""
    pss: float
    """The true one."""
    polar: float = 0.0
    """Share of the questions that are always right or always wrong."""
    interaction: float = 0.0
    """Standard deviation of each cell's own effect, in log-odds."""
    greedy: str = ""
    """Model whose real verdicts are taken, exchanged among personas, so that the PSS is 1."""


LARGE, SMALL = (500, 16, 1), (200, 16, 4)


def settings() -> Iterator[Setting]:
    for mean, pss in itertools.product((0.6, 0.9), (0.5, 0.6, 0.7, 0.8, 0.9)):
        for shape in ("one harmful", "normal"):
            yield Setting("savings", mean, 500, 16, 1, shape, pss)
    for pss in (0.95, 0.94):
        yield Setting("error", 0.6, *LARGE, "one harmful", pss)
        yield Setting("error", 0.6, *LARGE, "normal", pss)
        yield Setting("error", 0.6, *SMALL, "two groups", pss)
        yield Setting("error", 0.6, *SMALL, "normal", pss, polar=0.85)
        yield Setting("error", 0.9, *LARGE, "normal", pss)
        yield Setting("error", 0.9, *LARGE, "two groups", pss)
        yield Setting("error", 0.9, *LARGE, "one harmful", pss, polar=0.85)
        yield Setting("error", 0.9, *SMALL, "one harmful", pss)
        yield Setting("error", 0.6, 200, 16, 1, "one harmful", pss, interaction=2.0)
        yield Setting("error", 0.6, *SMALL, "one harmful", pss, interaction=2.0)
        yield Setting("error", 0.9, 100, 6, 1, "one harmful", pss)
        yield Setting("error", 0.6, 60, 6, 4, "one harmful", pss)
    yield Setting("error", 0.1, *LARGE, "one harmful", 0.95)
    for mean, size, polar in (
        (0.1, LARGE, 0.0), (0.6, LARGE, 0.0), (0.9, LARGE, 0.85), (0.6, SMALL, 0.85),
        (0.6, (60, 6, 4), 0.0),
    ):  # fmt: skip
        yield Setting("error", mean, *size, "none", 1.0, polar=polar)
    for model in ("base", "rlvr-1"):
        yield Setting("error", np.nan, 160, 16, 1, "none", 1.0, greedy=model)


# ------------------------------------------------------------------------------ simulation
def accuracies(s: Setting, level: float, effect: np.ndarray) -> np.ndarray:
    """Of each persona, expected over all questions, if these have the mean log-odds `level`."""
    mixed = expected(level + effect, float(np.hypot(EASE_SD, s.interaction)))
    accuracy: np.ndarray = s.polar * s.mean + (1 - s.polar) * mixed
    return accuracy


def draw(s: Setting, rng: np.random.Generator) -> Cells:
    """A table whose questions are in random order."""
    if s.greedy:
        verdicts = rng.permutation(rng.permuted(greedy_verdicts(s.greedy), axis=1))
        return cells_of(verdicts, np.ones_like(verdicts))
    effects = persona_effects(s, rng)
    return answers(s, effects, questions_of(s, rng), rng)


class Effects(NamedTuple):
    """Mean log-odds of the questions that are not polar, and each persona's effect on them."""

    level: float
    effect: np.ndarray


def persona_effects(s: Setting, rng: np.random.Generator) -> Effects:
    """Effects with which the true PSS is that of the setting."""
    effect = np.zeros(s.personas)
    match s.shape:
        case "one harmful":
            effect[rng.integers(s.personas)] = -1
        case "normal":
            effect = rng.standard_normal(s.personas)
        case "two groups":
            effect[rng.permutation(s.personas)[: s.personas // 2]] = -1

    def level(scale: float) -> float:
        mean = partial(accuracies, s, effect=scale * effect)
        return float(brentq(lambda b: mean(b).mean() - s.mean, -200, 200, xtol=1e-6))

    def pss(scale: float) -> float:
        expected = accuracies(s, level(scale), scale * effect)
        return float(expected.min() / expected.max())

    scale = brentq(lambda x: pss(x) - s.pss, 0, 20, xtol=1e-5) if s.shape != "none" else 0.0
    return Effects(level(scale), scale * effect)


def questions_of(s: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eases, and two uniform numbers that say which questions are polar, and which of these are
    right; shape (questions, 1) each."""
    ease = EASE_SD * rng.standard_normal((s.questions, 1))
    polar, right = rng.random((2, s.questions, 1))
    return ease, polar, right


def answers(
    s: Setting,
    effects: Effects,
    questions: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Cells:
    """Responses to these questions."""
    ease, polar, right = questions
    logit = effects.level + effects.effect + ease
    logit = logit + s.interaction * rng.standard_normal(logit.shape)
    chance = np.where(polar < s.polar, right < s.mean, expit(logit))
    return cells_of(rng.binomial(s.samples, chance), np.full(chance.shape, s.samples))


def above(tables: list[Cells], rng: np.random.Generator) -> np.ndarray:
    """Share of the draws of each table that are stable; NaN where nothing is correct."""
    found = np.full(len(tables), np.nan)
    some = [i for i, cells in enumerate(tables) if cells.correct.any()]
    if some:
        drawn = posteriors([tables[i] for i in some], rng)
        found[some] = [(each.pss >= STABLE_FROM).mean() for each in drawn]
    return found


def study(s: Setting, batch: int, seed: int) -> pd.DataFrame:
    """One row per table of a batch, with a column such as `look_100` per look."""
    rng = np.random.default_rng([seed, batch, *repr(s).encode()])
    tables = [draw(s, rng) for _ in range(BATCH)]
    looks = planned_looks(s.questions, fewest=FEWEST_SIMULATED)
    shares = {
        f"look_{n}": above([each.only(questions=slice(n)) for each in tables], rng) for n in looks
    }
    return pd.DataFrame([{**s._asdict(), "batch": batch}] * BATCH).assign(**shares)


# ------------------------------------------------------------------------------ the words
def words(shares: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The word of each table at each look, shape (tables, looks); empty where undetermined.

    An interval lies on one side of the threshold just where no more draws than its tail has are on
    the other side.
    """
    tails = levels * TAIL
    unstable, stable = shares <= tails, shares >= 1 - tails
    return np.select([unstable, stable], ["unstable", "stable"], "")


def stopped(said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The word at which each table is stopped, and the position of that look; the last one where
    none is decided."""
    decided = said != ""
    last = said.shape[1] - 1
    look = np.where(decided.any(axis=1), decided.argmax(axis=1), last)
    return np.take_along_axis(said, look[:, None], axis=1)[:, 0], look


def scored(table: pd.DataFrame, fewest: int = FEWEST) -> pd.DataFrame:
    """One row per table, with the share of the questions that were asked, and three words: of the
    plan (`plan`), of the whole run (`whole`), and of whoever takes the ordinary interval at each
    look (`naive`). The first look is after `fewest` questions or more."""
    found = []
    for questions, part in table.groupby("questions"):
        looks = np.array(planned_looks(int(questions), fewest))
        shares = part[[f"look_{n}" for n in looks]].to_numpy(float)
        error = (1 - CONFIDENCE) / 2
        levels = np.array(tail_levels(tuple(looks / questions), error))
        plan, look = stopped(words(shares, levels))
        naive, _ = stopped(words(shares, np.full(len(looks), error)))
        whole = words(shares[:, -1:], np.array([error]))[:, 0]
        part = part.assign(plan=plan, naive=naive, whole=whole, asked=looks[look] / questions)
        wrong = np.where(part["pss"] >= STABLE_FROM, "unstable", "stable")
        for name in ("plan", "naive", "whole"):
            part[f"{name}_wrong"] = part[name] == wrong
            part[f"{name}_decided"] = part[name] != ""
        found.append(part)
    return pd.concat(found)


def name(row: dict[str, Any]) -> str:
    """A setting in a few words."""
    size = f"{row['questions']} x {row['personas']} x {row['samples']}"
    if isinstance(row["greedy"], str) and row["greedy"]:
        return f"greedy {row['greedy']}, {size}"
    text = f"{row['mean']:g}, {size}, {row['shape']}"
    text += f", {row['polar']:.0%} polar" if row["polar"] else ""
    return text + (", interaction" if row["interaction"] else "")


def report(table: pd.DataFrame) -> None:
    """Prints the tables that docs/stopping.md has."""
    for fewest in (30, 60, 100, 150, 200):
        out = scored(table, fewest)
        of_setting = out[out["part"] == "error"].groupby(list(Setting._fields), dropna=False)
        asked = out[(out["part"] == "savings") & out["whole_decided"]]["asked"].mean()
        print(f"first look from {fewest} questions on: wrong at most "
              f"{of_setting['plan_wrong'].mean().max():.3f}, asked {asked:.3f}")  # fmt: skip
    out = scored(table)
    keys = list(Setting._fields)
    groups = out[out["part"] == "error"].groupby(keys, sort=False, dropna=False)
    columns = ["plan_wrong", "naive_wrong", "whole_wrong", "plan_decided", "whole_decided", "asked"]
    errors = groups[columns].mean().reset_index()
    errors.insert(0, "setting", [name(row) for row in errors.to_dict("records")])
    errors["tables"] = groups.size().to_numpy()
    errors = errors.sort_values(["pss", "plan_wrong"], ascending=False)
    print("Wrong words:\n")
    print(markdown(errors[["setting", "pss", "tables", *columns]]))
    for kind in ("plan", "naive", "whole"):
        wrong = errors[f"{kind}_wrong"]
        print(f"\n{kind}: largest {wrong.max():.3f}, mean {wrong.mean():.4f}, over 5% in "
              f"{(wrong > 0.05).sum()} of {len(wrong)}")  # fmt: skip
    savings = out[out["part"] == "savings"]
    for by in (["mean", "pss"], ["mean"], ["shape"], ["part"]):
        known = savings[savings["whole_decided"]].groupby(by)
        groups = savings.groupby(by)
        rows = groups[["whole_decided", "plan_decided", "asked"]].mean()
        rows["asked where the whole run decides"] = known["asked"].mean()
        rows["plan decides there"] = known["plan_decided"].mean()
        rows.insert(0, "tables", groups.size())
        print(f"\nSavings by {' and '.join(by)}:\n\n{markdown(rows.reset_index())}")


# ------------------------------------------------------------------------------- the gate
def study_gate(
    questions: int, changed: float, alike: bool, loss: float, margin: float, replicates: int
) -> dict[str, Any]:
    """How often the criterion of the mean accuracy passes at some look, and at the end alone.

    A share `changed` of the new checkpoint's verdicts differ, `alike` for all six personas of a
    question or independently, so that it loses `loss` of its accuracy.
    """
    rng = np.random.default_rng([questions, int(1000 * changed), alike, int(1000 * loss)])
    one = np.array([(changed + loss) / 2, 1 - changed, (changed - loss) / 2])
    personas = 1 if alike else 6
    chance = reduce(np.convolve, [one] * personas)  # of each sum over the personas
    values = np.arange(-personas, personas + 1)[:, None] / personas
    looks = planned_looks(questions)
    levels = tail_levels(tuple(n / questions for n in looks), 0.05, "late")
    passed, failed = np.zeros((2, len(looks), replicates), dtype=bool)
    times = np.zeros((len(chance), replicates))
    for look, (n, level) in enumerate(zip(looks, levels, strict=True)):
        asked = n - (looks[look - 1] if look else 0)
        times = times + rng.multinomial(asked, chance, replicates).T
        passed[look] = lower_bounds(values, level, times) > -margin
        failed[look] = -lower_bounds(-values, level, times) < -margin
    decided = passed | failed
    first = np.where(decided.any(axis=0), decided.argmax(axis=0), len(looks) - 1)
    return {
        "questions": questions,
        "changed": changed,
        "personas": "alike" if alike else "independent",
        "loss": loss,
        "margin": margin,
        "pass": np.take_along_axis(passed, first[None], axis=0).mean(),
        "pass_whole": (lower_bounds(values, 0.05, times) > -margin).mean(),
        "fail": np.take_along_axis(failed, first[None], axis=0).mean(),
        "asked": (np.array(looks)[first] / questions).mean(),
    }


def gate_table(replicates: int = 5000) -> pd.DataFrame:
    cases = [
        (questions, changed, alike, loss, 0.02)
        for questions, changed, alike in itertools.product(
            (50, 100, 200, 500, 1000), (0.02, 0.05, 0.2), (True, False)
        )
        for loss in (0.02, 0.0, 0.06)
        if loss <= changed
    ]
    return pd.DataFrame([study_gate(*case, replicates) for case in cases])


POLAR = 0.85
CRITERIA = [
    # base, new, margins of the mean, of single personas and of the corrected PSS
    (Setting("gate", 0.9, 200, 6, 4, "none", 1.0, POLAR),
     Setting("gate", 0.9, 200, 6, 4, "one harmful", 0.95, POLAR), (0.02, 0.05, 0.05)),
    (Setting("gate", 0.9, 200, 6, 1, "none", 1.0),
     Setting("gate", 0.9, 200, 6, 1, "one harmful", 0.9), (0.05, 0.1, 0.1)),
    (Setting("gate", 0.6, 200, 6, 1, "none", 1.0),
     Setting("gate", 0.6, 200, 6, 1, "normal", 0.8), (0.05, 0.1, 0.2)),
    (Setting("gate", 0.8, 200, 6, 1, "none", 1.0),
     Setting("gate", 0.75, 200, 6, 1, "none", 1.0), (0.05, 0.05, 0.1)),
    (Setting("gate", 0.9, 200, 6, 4, "none", 1.0, POLAR),
     Setting("gate", 0.9, 200, 6, 4, "none", 1.0, POLAR), (0.02, 0.05, 0.05)),
]  # fmt: skip
"""Two checkpoints of which at least one criterion is at its margin, and a pair that is alike."""


def study_criteria(case: int, replicates: int, seed: int = 0) -> pd.DataFrame:
    """How often each criterion, and the gate of all of them, passes or fails at some look.

    The two checkpoints answer the same questions, each response drawn by itself. One row per
    criterion, with the true loss of the new checkpoint.
    """
    rng = np.random.default_rng([seed, case])
    base, new, margins = CRITERIA[case]
    looks = planned_looks(base.questions)
    names = ("mean accuracy", "every persona", "pss_corrected")
    verdicts: list[list[list[str]]] = []
    losses = []
    for _ in range(replicates):
        questions = questions_of(base, rng)
        drawn = [persona_effects(s, rng) for s in (base, new)]
        true = [accuracies(s, *effects) for s, effects in zip((base, new), drawn, strict=True)]
        pss = [each.min() / each.max() for each in true]
        gap = true[0] - true[1]
        losses.append((gap.mean(), gap.max(), pss[0] - pss[1]))
        tables = [answers(s, e, questions, rng) for s, e in zip((base, new), drawn, strict=True)]
        verdicts.append([])
        for look, n in enumerate(looks, 1):
            shares = tuple(x / base.questions for x in looks[:look])
            level = tail_levels(shares, 0.05, "late")[-1]
            pair = [each.only(questions=slice(n)) for each in tables]
            found = criteria_of(pair[0], pair[1], margins, level, rng)
            verdicts[-1].append([each.verdict for each in found])
    words = np.array([[[*look, combined(look)] for look in each] for each in verdicts])
    rows = []
    true_losses = [*np.mean(losses, axis=0), np.nan]
    for i, name in enumerate((*names, "all")):
        decided = words[:, :, i] != "can't tell"
        first = np.where(decided.any(axis=1), decided.argmax(axis=1), len(looks) - 1)
        word = np.take_along_axis(words[:, :, i], first[:, None], axis=1)[:, 0]
        margin = margins[i] if i < len(margins) else np.nan
        shares = {w: (word == w).mean() for w in ("pass", "fail")}
        rows.append({"case": case, "criterion": name, "margin": margin, "loss": true_losses[i],
                     **shares, "whole passes": (words[:, -1, i] == "pass").mean(),
                     "asked": np.array(looks)[first].mean() / base.questions,
                     "replicates": replicates})  # fmt: skip
    return pd.DataFrame(rows)


def at_the_margin(runs: int) -> pd.DataFrame:
    """How often in-character accuracy passes wrongly: what is lost is the margin, of six personas.

    A response is right and in voice before, after, both or neither; each question has the mean
    difference over its personas, which change alike or independently.
    """
    rng = np.random.default_rng(0)
    rows = []
    grid = itertools.product((20, 50, 100, 200), (0.02, 0.05, 0.1), (0.0, 0.05, 0.2), (1, 6))
    for questions, margin, more, independent in grid:
        changed = margin + more
        draw = rng.random((runs, questions, independent))
        lost, gained = draw < (changed + margin) / 2, draw > 1 - more / 2
        values = (gained.astype(float) - lost).mean(axis=2)
        passes = np.mean([lower_bounds(each[:, None], 0.05)[0] > -margin for each in values])
        rows.append({"questions": questions, "margin": margin, "changed": changed,
                     "personas change": "alike" if independent == 1 else "independently",
                     "passes": passes})  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--replicates", type=int, default=180, help="of the error; the savings have 30"
    )
    parser.add_argument("--first-batch", type=int, default=0, help="to go on with more tables")
    parser.add_argument("--only", help="only settings whose PSS and name fit this expression")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--csv", default="stopping.csv.gz", help="one row per table; read by --show"
    )
    parser.add_argument("--show", action="store_true", help="print what --csv says")
    parser.add_argument("--gate", action="store_true", help="print the gate's error and savings")
    parser.add_argument("--criteria", type=int, help="tables per pair: all criteria of the gate")
    args = parser.parse_args()
    if args.criteria:
        for case in range(len(CRITERIA)):
            print(markdown(study_criteria(case, args.criteria, args.seed)), flush=True)
        return
    if args.gate:
        print(markdown(gate_table()))
        print(markdown(at_the_margin(1500)))
        return
    if not args.show:
        warnings.simplefilter("ignore")
        Path(args.csv).parent.mkdir(parents=True, exist_ok=True)
        parts, chosen = [], list(settings())
        if args.only:
            chosen = [s for s in chosen if re.search(args.only, f"{s.pss} {name(s._asdict())}")]
        with ProcessPoolExecutor(args.workers) as pool:
            for batch in range(args.first_batch, -(-args.replicates // BATCH)):
                if batch:  # savings need fewer tables than rare errors
                    chosen = [each for each in chosen if each.part == "error"]
                run = partial(study, batch=batch, seed=args.seed)
                for done, part in enumerate(pool.map(run, chosen), 1):
                    parts.append(part)
                    print(f"batch {batch + 1}: {done}/{len(chosen)}", file=sys.stderr, flush=True)
                pd.concat(parts).round(6).to_csv(args.csv, index=False)
    report(pd.read_csv(args.csv, keep_default_na=False, na_values=["nan", ""])
           if args.show else pd.concat(parts))  # fmt: skip


if __name__ == "__main__":
    main()
