"""What SFT, distillation, RLVR and PerMix-RLVR do to a small real model: trains, asks, compares.

    python -m scripts.training_study WORK            # hours on two cores; started again, it goes on
    python -m scripts.training_study WORK --stage report
    python -m scripts.training_study --rescore       # minutes, from the stored verdicts

SmolLM2-135M-Instruct learns generated sums under the settings in
`results/smollm2-arithmetic/configs`; each checkpoint answers held-out sums under the personas of
`core`, none of which it has met, and plays roles in `persona_roleplay`. What comes out goes to
`results/smollm2-arithmetic`: `summary.csv` (a row a method and seed), the paired comparisons, the
training's logs, and the figure of robustness and fidelity. Checkpoints and responses stay in WORK.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from persona_bench.demo import NAME, demo_model
from persona_bench.report.comparison import write_comparison
from persona_bench.report.figures.frontier import frontier_figure
from persona_bench.report.figures.style import save_figure
from persona_bench.results.outcomes import read_outcomes
from persona_bench.scoring.compare import compare
from persona_bench.scoring.information_compare import compare_information
from persona_bench.scoring.stability import stability

RESULTS = Path(__file__).resolve().parent.parent / "results" / "smollm2-arithmetic"
CONFIGS = RESULTS / "configs"
TITLE = f"{NAME}: robustness and fidelity after training on sums"
SUMS, ROLES = "persona_arithmetic", "persona_roleplay"
SEEDS = {"sft": 1, "distill": 1, "rlvr": 2, "permix": 2}
"""How many seeds of each method, from 1 on."""

# two cores, float32: the heap keeps what is freed, or every step would fault its gigabytes in anew
MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


class Checkpoint(NamedTuple):
    """One of the compared models."""

    method: str
    seed: int | None

    @property
    def name(self) -> str:
        return self.method if self.seed is None else f"{self.method}-{self.seed}"

    @property
    def pretrained(self) -> str:
        return NAME if self.seed is None else f"checkpoints/{self.name}"


def checkpoints() -> list[Checkpoint]:
    """The base model first; a teacher before its pupil."""
    trained = [
        Checkpoint(method, seed)
        for method in ("rlvr", "permix", "sft", "distill")
        for seed in range(1, SEEDS[method] + 1)
    ]
    return [Checkpoint("base", None), *sorted(trained, key=lambda each: each.seed or 0)]


def command(work: Path, *parts: str) -> None:
    """Runs a `persona-bench` command in the work folder."""
    program = Path(sys.executable).parent / "persona-bench"
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **MEMORY}
    subprocess.run([str(program), *parts], cwd=work, env=environment, check=True)


def train(work: Path) -> None:
    """All checkpoints; what is finished is not done again."""
    for each in checkpoints():
        if each.seed is not None:
            config = CONFIGS / f"{each.method}.yaml"
            paths = ["--model", NAME, "--output-path", each.pretrained, "--seed", str(each.seed)]
            command(work, "train", each.method, str(config), *paths)


def ask(work: Path) -> None:
    """Every checkpoint answers the sums and plays the roles; then the roles' traces."""
    study = yaml.safe_load((CONFIGS / "evaluation.yaml").read_text())
    trained = [each for each in checkpoints() if is_there(work, each)]
    study["models"] = [
        {
            "name": each.name,
            "pretrained": each.pretrained,
            "model_args": {"dtype": "float32"},
            "batch_size": 64,
        }
        for each in trained
    ]
    (work / "evaluation.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    command(work, "run", "evaluation.yaml")
    for each in trained:
        place = work / "results" / each.name
        if not list(scores(work, each).glob(f"{ROLES}_trace.json")):
            model = ["--model-args", f"pretrained={each.pretrained},dtype=float32,batch_size=16"]
            where = ["--out", str(scores(work, each).relative_to(work))]
            more = ["--task", ROLES]
            command(work, "trace", str(place.relative_to(work)), *model, *where, *more)


def is_there(work: Path, checkpoint: Checkpoint) -> bool:
    """Whether it can be asked: the base model, or one whose training is finished."""
    return checkpoint.seed is None or (work / checkpoint.pretrained / "finished.json").is_file()


def scores(work: Path, checkpoint: Checkpoint) -> Path:
    return work / "results" / "scores" / checkpoint.name


# ---------------------------------------------------------------------- what comes out


def summary(work: Path) -> pd.DataFrame:
    """A row per method and seed, as far as the study has come."""
    rows = []
    for each in checkpoints():
        trace = scores(work, each) / f"{ROLES}_trace.json"
        if not trace.is_file():
            continue
        facts = json.loads(trace.read_text())
        information, identified = facts["persona_information"], facts["identifiability"]
        table = read_outcomes(work / "results" / each.name).query("task == @SUMS")
        seed = "" if each.seed is None else str(each.seed)
        likelihoods = {
            "persona_information": information["information"],
            "persona_information_low": information["low"],
            "persona_information_high": information["high"],
            "identifiability": identified["accuracy"],
            "identifiability_low": identified["low"],
            "identifiability_high": identified["high"],
        }
        rows.append(summary_row(each.method, seed, table, likelihoods))
    return pd.DataFrame(rows)


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


def interval(name: str, told: dict[str, Any]) -> dict[str, Any]:
    return {name: told["value"], f"{name}_low": told["low"], f"{name}_high": told["high"]}


def pairs() -> list[tuple[str, str]]:
    """Which are compared: rlvr with base first, as without a gain the rest says nothing."""
    trained = [each for each in checkpoints() if each.seed is not None]
    against_base = [("base", each.name) for each in trained]
    return against_base + [(f"rlvr-{seed}", f"permix-{seed}") for seed in (1, 2)]


def information(work: Path) -> pd.DataFrame:
    """Persona information of the pairs, on the same questions and personas."""
    rows = []
    for one, other in pairs():
        files = [
            work / "results" / "scores" / name / f"{ROLES}_trace_likelihoods.csv"
            for name in (one, other)
        ]
        if all(file.is_file() for file in files):
            found = compare_information(*(pd.read_csv(file) for file in files))
            rows.append({"one": one, "other": other, **found.to_dict()})
    return pd.DataFrame(rows)


def report(work: Path) -> None:
    """Copies tables and logs, compares in pairs, and writes the summary."""
    table = summary(work)
    table.to_csv(RESULTS / "summary.csv", index=False, float_format="%.4f")
    print(table.to_string(index=False))
    if len(table):
        save_figure(frontier_figure(table, title=TITLE), RESULTS / "frontier")
    for one, other in pairs():
        folders = [work / "results" / name for name in (one, other)]
        if all(folder.is_dir() for folder in folders):
            out = Path("results") / "comparisons" / f"{one}_{other}"
            where = [str(folder.relative_to(work)) for folder in folders]
            command(work, "compare", *where, "--out", str(out), "--no-page")
            copy(work / out, RESULTS / "comparisons" / out.name)
    packed = {"method": "gzip", "mtime": 0}  # the same verdicts, the same bytes
    outcomes(work).to_csv(RESULTS / "outcomes.csv.gz", index=False, compression=packed)
    everything = [each.name for each in checkpoints() if (work / "results" / each.name).is_dir()]
    runs = [f"{name}=results/{name}" for name in everything]
    command(work, "compare", *runs, "--out", "report")
    information(work).to_csv(RESULTS / "information.csv", index=False, float_format="%.4f")
    for each in checkpoints():
        if each.seed is not None and is_there(work, each):
            names = ("train.yaml", "log.csv", "personas.csv", "finished.json")
            copy(work / each.pretrained, RESULTS / "logs" / each.name, names)


def rescore() -> None:
    """Scores the stored verdicts again, where the scoring has changed: no model is needed.

    What comes from the models' likelihoods (persona information) stays as it is.
    """
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
    for one, other in pairs():
        folder = RESULTS / "comparisons" / f"{one}_{other}"
        before = json.loads((folder / f"{SUMS}_comparison.json").read_text())
        again = compare(tables[one], tables[other])
        write_comparison(again, folder, task=SUMS, record={**before, **again.to_dict()})


VERDICTS = ("persona", "kind", "question", "level", "sample", "verdict", "reason", "prompt_hash")


def outcomes(work: Path) -> pd.DataFrame:
    """Every verdict on the sums, without the responses."""
    tables = [
        read_outcomes(work / "results" / each.name)
        .query("task == @SUMS")
        .assign(model=each.name)[["model", *VERDICTS]]
        for each in checkpoints()
        if (work / "results" / each.name).is_dir()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def copy(source: Path, target: Path, names: tuple[str, ...] | None = None) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.suffix in (".csv", ".json", ".yaml") and (names is None or file.name in names):
            shutil.copy(file, target / file.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path, nargs="?", help="where checkpoints and responses go")
    parser.add_argument("--stage", choices=("train", "ask", "report"), help="only this one")
    parser.add_argument("--rescore", action="store_true", help="only score stored verdicts again")
    given = parser.parse_args()
    if given.rescore:
        rescore()
        return
    if given.work is None:
        parser.error("name the folder where checkpoints and responses go")
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / NAME).exists():
        (work / NAME).symlink_to(demo_model())
    for name, stage in (("train", train), ("ask", ask), ("report", report)):
        if given.stage in (None, name):
            stage(work)


if __name__ == "__main__":
    main()
