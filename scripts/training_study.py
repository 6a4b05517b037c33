"""Scores the stored verdicts of `results/smollm2-arithmetic` again, where the scoring has changed.

    python -m scripts.training_study --rescore       # minutes; no model is needed

Writes `summary.csv` (one row per method and seed), the paired comparisons, and the figure of
robustness and fidelity. What comes from the models' likelihoods (persona information) stays as it
is. `results/smollm2-arithmetic/README.md` says how the checkpoints were trained and asked.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.demo import NAME
from persona_bench.report.comparison import write_comparison
from persona_bench.report.figures.frontier import frontier_figure
from persona_bench.report.figures.style import save_figure
from persona_bench.scoring.compare import compare
from persona_bench.scoring.stability import stability

RESULTS = Path(__file__).resolve().parent.parent / "results" / "smollm2-arithmetic"
TITLE = f"{NAME}: robustness and fidelity after training on sums"
SUMS = "persona_arithmetic"


def summary_row(
    method: str, seed: str, table: pd.DataFrame, likelihoods: dict[str, float]
) -> dict[str, Any]:
    """A checkpoint's numbers: of its verdicts on the sums, and of its traces in role play."""
    result = stability(table)
    numbers = result.to_dict()
    return {
        "method": method,
        "seed": seed,
        **interval("accuracy", numbers["mean"]),
        "worst": result.worst,
        "best": result.best,
        "pss": result.pss,
        "noise_floor": result.noise_floor,
        "p_value": result.p_value,
        **interval("pss_corrected", numbers["pss_corrected"]),
        "conclusion": result.conclusion,
        **likelihoods,
    }


def interval(name: str, estimate: dict[str, Any]) -> dict[str, Any]:
    """An estimate as three columns."""
    return {
        name: estimate["value"],
        f"{name}_low": estimate["low"],
        f"{name}_high": estimate["high"],
    }


def rescore() -> None:
    """Writes the summary, the figure and the comparisons anew."""
    verdicts = pd.read_csv(RESULTS / "outcomes.csv.gz")
    verdicts["correct"] = verdicts["verdict"].map({"correct": 1.0, "wrong": 0.0})
    tables = {str(name): table for name, table in verdicts.groupby("model", sort=False)}
    old = pd.read_csv(RESULTS / "summary.csv", dtype={"seed": str}, keep_default_na=False)
    rows = []
    for row in old.to_dict("records"):
        name = f"{row['method']}-{row['seed']}" if row["seed"] else row["method"]
        likelihoods = {
            key: float(value)
            for key, value in row.items()
            if key.startswith(("persona_inf", "identif"))
        }
        rows.append(summary_row(row["method"], row["seed"], tables[name], likelihoods))
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "summary.csv", index=False, float_format="%.4f")
    print(table.to_string(index=False))
    save_figure(frontier_figure(table, title=TITLE), RESULTS / "frontier")
    for folder in sorted((RESULTS / "comparisons").iterdir()):
        before = json.loads((folder / f"{SUMS}_comparison.json").read_text())
        again = compare(*(tables[name] for name in folder.name.split("_")))
        write_comparison(again, folder, task=SUMS, record={**before, **again.to_dict()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rescore", action="store_true", required=True)
    parser.parse_args()
    rescore()


if __name__ == "__main__":
    main()
