"""The model-organism study: does PerMix-RLVR keep stability and fidelity where RLVR loses one?

    python -m scripts.organism WORK                 # everything from the start; days on two cores
    python -m scripts.organism WORK --continue      # resumes wherever it was stopped
    python -m scripts.organism WORK --report        # only tables and figures, from stored results
    python -m scripts.organism WORK --smoke         # a few steps of everything, which show nothing

The design is in `results/organism/PROTOCOL.md`. A warm start teaches SmolLM2-135M-Instruct 24
families of personas, RLVR's settings are tuned on seed 0, then the queue of trainings is worked off
in an order that finishes what decides most first. Each finished training leaves its verdicts, logs
and settings in `--results` (no weights), and a training whose results are there is not done again.
Several processes may work on one WORK folder side by side, as on a GPU: each takes what no other
has taken.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from persona_bench.demo import demo_model
from scripts.organism_families import (
    EVALUATION,
    SEEN,
    Sum,
    capital,
    families,
    right,
    sums,
    talk,
    warm_rows,
)

RESULTS = Path(__file__).resolve().parent.parent / "results" / "organism"
WARM, BASE = "warm", "base"
WARM_RATE, WARM_ROUNDS, WARM_STEPS, ROWS = 1e-4, 6, 25, 32
RUNGS = ((1e-5, 120), (2e-5, 120), (4e-5, 120), (8e-5, 120), (8e-5, 240))
"""Learning rate and steps of the tuning, in this order, up to the first that costs fidelity."""
FALL = 0.1
"""How much of the warm start's marker rate RLVR must lose for the fidelity half to be testable."""
GROUPS, COMPLETIONS, CAP, ROUNDS = 4, 8, 40, 2
VARIANTS: dict[str, dict[str, Any]] = {
    "permix": {},
    "permix-information": {"reward": {"information_weight": 0.5}},
    "permix-curriculum": {"personas": {"curriculum": 0.5}},
    "permix-question": {"personas": {"group": "question"}},
    "permix-mix25": {"personas": {"mix_ratio": 0.25}},
    "permix-mix100": {"personas": {"mix_ratio": 1.0}},
}

# On a CPU the heap keeps what is freed, or every step would fault its gigabytes in anew.
MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


class Scale(NamedTuple):
    """How much is done: the study, or a smoke test of the way through."""

    warm_steps: int = WARM_STEPS
    rungs: tuple[tuple[float, int], ...] = RUNGS
    groups: int = GROUPS
    sums: int | None = None
    talk: int | None = None
    seeds: int = 8
    natural: int = 4
    exploratory: int = 3
    gates: bool = True


SMOKE = Scale(1, ((1e-5, 2),), 1, sums=3, talk=3, seeds=2, natural=0, exploratory=0, gates=False)


class Arm(NamedTuple):
    """One training that is reported."""

    study: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.study}-{self.method}-{self.seed}"

    @property
    def start(self) -> str:
        return BASE if self.study == "natural" else WARM


def queue(scale: Scale) -> list[Arm]:
    """All trainings, those that decide most first; the two arms of a seed next to each other."""
    both = ("rlvr", "permix")
    others = [name for name in VARIANTS if name != "permix"] + ["sft", "distill"]
    return [
        *(Arm("organism", method, seed) for seed in range(1, scale.seeds + 1) for method in both),
        *(Arm("natural", method, seed) for seed in range(1, scale.natural + 1) for method in both),
        *(
            Arm("exploratory", method, seed)
            for seed in range(1, scale.exploratory + 1)
            for method in others
        ),
    ]


class Study:
    """A study in its folders.

    Args:
        work: Where checkpoints go.
        results: Where verdicts, logs and settings go.
        model: The model's folder or hub id.
        scale: How much is done.
    """

    def __init__(self, work: Path, results: Path, model: str, scale: Scale) -> None:
        self.work, self.results, self.model, self.scale = work, results, model, scale

    def prepare(self) -> None:
        """Writes what the trainings read; paths in it are relative, so that WORK can be moved."""
        self.work.mkdir(parents=True, exist_ok=True)
        check_apart()
        for path in (SEEN, EVALUATION):
            shutil.copy(path, self.work / path.name)
        train = sums()["train"]
        _write_rows(self.work / "train.jsonl", [each.row() for each in train])
        _write_rows(self.work / "solved.jsonl", [solved(each) for each in train])
        rows = warm_rows(each=12, plain_sums=212)
        assert len(rows) == WARM_STEPS * ROWS, len(rows)
        _write_rows(self.work / "warm.jsonl", rows)
        if Path(self.model).is_dir() and not (self.work / BASE).exists():
            (self.work / BASE).symlink_to(Path(self.model).resolve())

    # ------------------------------------------------------------------ trainings

    def train(self, name: str, method: str, seed: int, settings: dict[str, Any]) -> float:
        """Runs `persona-bench train` in WORK; a finished training is not done again.

        Returns:
            Seconds that it took, earlier starts included.

        Raises:
            subprocess.CalledProcessError: it failed; WORK/NAME.log says why.
        """
        (self.work / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        command = [sys.executable, "-m", "persona_bench", "train", method, f"{name}.yaml"]
        command += ["--seed", str(seed), "--output-path", name]
        clock = self.work / f"{name}.seconds"
        before = float(clock.read_text()) if clock.is_file() else 0.0
        if not (self.work / name / "finished.json").is_file():
            say(f"{name}: training")
        start = time.monotonic()
        with (
            (self.work / f"{name}.training.lock").open("a") as lock,
            (self.work / f"{name}.log").open("ab") as log,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)  # the training holds it too, should this process die
            process = subprocess.Popen(
                command,
                cwd=self.work,
                env={**os.environ, "OMP_WAIT_POLICY": "passive", **MEMORY},
                stdout=log,
                stderr=log,
                pass_fds=[lock.fileno()],
            )
            try:
                while process.poll() is None:
                    clock.write_text(f"{before + time.monotonic() - start:.0f}")
                    time.sleep(1)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return before + time.monotonic() - start

    def forget_states(self, name: str) -> None:
        """Deletes the states that a finished training would have been resumed from."""
        for path in (self.work / name).glob("checkpoint-*"):
            shutil.rmtree(path)

    def rl(self, start: str, method: str, rate: float, steps: int) -> dict[str, Any]:
        """Settings of RLVR, or of PerMix in one of its `VARIANTS`; nothing else differs."""
        found: dict[str, Any] = {
            "model": start,
            "data": {"source": "train.jsonl", "evaluation": []},
            "redraw": ROUNDS,
            "trainer": {
                **common(rate, steps),
                "per_device_train_batch_size": COMPLETIONS,
                "gradient_accumulation_steps": self.scale.groups,
                "num_generations": COMPLETIONS,
                "max_completion_length": CAP,
                "temperature": 1.0,
                "scale_rewards": "none",
                "loss_type": "dr_grpo",
                "beta": 0.0,
            },
        }
        if method == "rlvr":
            return found
        variant = VARIANTS[method]
        personas: dict[str, Any] = {"persona_set": SEEN.name, "evaluation": [EVALUATION.name]}
        personas |= {"mix_ratio": 0.5, "group": "persona", **variant.get("personas", {})}
        reward = {"reward": variant["reward"]} if "reward" in variant else {}
        return {**found, "personas": personas, **reward}

    def settings(self, arm: Arm) -> dict[str, Any]:
        """Settings of an arm, with the learning rate and the steps that the tuning chose."""
        chosen = self.chosen()
        rate, steps = chosen["learning_rate"], chosen["steps"]
        if arm.method == "rlvr" or arm.method in VARIANTS:
            return self.rl(arm.start, arm.method, rate, steps)
        trainer = {**common(rate, steps), **batches()}
        data: dict[str, Any] = {"source": "solved.jsonl", "evaluation": []}
        if arm.method == "sft":
            return {"model": arm.start, "data": data, "trainer": trainer}
        teacher = {"model": f"organism-rlvr-{arm.seed}", "samples": 4, "max_new_tokens": CAP}
        data["source"] = "train.jsonl"
        return {"model": arm.start, "data": data, "teacher": teacher, "trainer": trainer}

    def warm(self) -> None:
        """The warm start: rounds of supervised learning until one passes its gates.

        Raises:
            SystemExit: none does; the settings are to be changed before anything else is trained.
        """
        file = self.results / "gates.json"
        with taken(self.work / "warm.lock", wait=True):
            found = json.loads(file.read_text()) if file.is_file() else {"rounds": []}
            before = BASE if (self.work / BASE).exists() else self.model
            for number in range(1, WARM_ROUNDS + 1):
                name = f"{WARM}-{number}"
                trainer = {**common(WARM_RATE, self.scale.warm_steps), **batches()}
                data = {"source": "warm.jsonl", "evaluation": []}
                settings = {"model": before, "data": data, "trainer": trainer}
                seconds = self.train(name, "sft", number, settings)
                self.forget_states(name)
                if len(found["rounds"]) < number:
                    say(f"{name}: gates")
                    told = {"name": name, "seconds": seconds, "sha256": self.fingerprint(name)}
                    found["rounds"].append({**told, **self.gates(name)})
                    _write_json(file, found)
                    say(f"{name}: {json.dumps(found['rounds'][-1])}")
                if found["rounds"][number - 1]["passed"] or not self.scale.gates:
                    break
                before = name
            else:
                raise SystemExit(f"No warm start passes its gates: {file} has the figures")
            if found["rounds"][number - 1]["sha256"] != self.fingerprint(name):
                say(
                    "The warm start of this WORK folder has other weights than that of earlier "
                    "results; each result says which it had, as warm_sha256"
                )
            if not (self.work / WARM).exists():
                (self.work / WARM).symlink_to(name)

    def gates(self, name: str) -> dict[str, Any]:
        """What a warm start must show before it is trained on, on development sums."""
        from scripts.organism_measure import ask_roles, ask_sums, load

        model = load(self.work / name)
        everyone = {**families(SEEN), **families(EVALUATION)}
        harmful = {name: family for name, family in everyone.items() if family.harmful}
        asked = sums()["development"][: self.scale.sums]
        plain = float(ask_sums(model, {}, asked, seed=0, samples=4, cap=CAP)["correct"].mean())
        table = ask_sums(model, harmful, asked[::2], seed=0, cap=CAP)
        table = table[table["persona"].isin(harmful)]
        by_family = table.groupby("persona")["correct"].mean()
        roles = ask_roles(model, everyone, talk()["evaluation"][: self.scale.talk or 4], seed=0)
        mean = float(table["correct"].mean())  # exact at the bound; a mean of means is not
        return {
            "passed": bool(0.4 <= plain <= 0.6 and mean <= 0.2 and (by_family == 0).sum() <= 2),
            "accuracy_without_persona": plain,
            "harmful_mean": mean,
            "harmful": by_family.round(3).to_dict(),
            "marker_rate": roles.groupby("persona")["marked"].mean().round(3).to_dict(),
            "marker_rate_mean": float(roles["marked"].mean()),
        }

    def fingerprint(self, name: str = WARM) -> str:
        """The beginning of the SHA-256 of a checkpoint's weights."""
        with (self.work / name / "model.safetensors").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]

    # ------------------------------------------------------------------ tuning

    def tune(self) -> None:
        """Climbs the `RUNGS` with RLVR and seed 0 until role play suffers, and stores the choice.

        Measured on development sums and under the families that the evaluation does not have.
        """
        file = self.results / "tuning.json"
        with taken(self.work / "tuning.lock", wait=True):
            found = json.loads(file.read_text()) if file.is_file() else {"rungs": []}
            if "chosen" in found:
                return
            if not found["rungs"]:
                found["rungs"].append({"name": WARM, **self.development(WARM)})
            warm = found["rungs"][0]
            for rate, steps in self.scale.rungs[len(found["rungs"]) - 1 :]:
                name = f"tuning-{rate:g}-{steps}"
                seconds = self.train(name, "rlvr", 0, self.rl(WARM, "rlvr", rate, steps))
                rung = {"name": name, "learning_rate": rate, "steps": steps, "seconds": seconds}
                rung |= {**self.development(name), **drawn(self.work / name, self.scale.groups)}
                found["rungs"].append(rung)
                _write_json(file, found)
                copy_logs(self.work / name, self.results / "tuning" / name)
                shutil.rmtree(self.work / name)
                say(f"tuning: {json.dumps(rung)}")
                if stops(rung, warm):
                    break
            found |= choose(found["rungs"])
            _write_json(file, found)
            say(f"tuning: chosen {json.dumps(found['chosen'])}")

    def development(self, name: str) -> dict[str, float]:
        """Accuracy without persona and the marker rate, where tuning may look."""
        from scripts.organism_measure import ask_roles, ask_sums, load

        model = load(self.work / name)
        asked = sums()["development"][: self.scale.sums]
        table = ask_sums(model, {}, asked, seed=0, samples=4, cap=CAP)
        questions = talk()["evaluation"][: self.scale.talk]
        roles = ask_roles(model, families(SEEN), questions, seed=0, samples=2)
        return {
            "accuracy": float(table["correct"].mean()),
            "marker_rate": float(roles["marked"].mean()),
        }

    def chosen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.results / "tuning.json").read_text())["chosen"]
        return found

    # ------------------------------------------------------------------ what is reported

    def done(self, name: str) -> bool:
        return (self.results / "seeds" / name / "facts.json").is_file()

    def start_point(self, name: str) -> None:
        """Evaluates the warm start or the base model, once."""
        with taken(self.work / f"{name}.lock", wait=True):
            if not self.done(name):
                say(f"{name}: evaluation")
                self.evaluate(name, {"study": "start", "method": name, "seed": None, "steps": 0})

    def run(self, arm: Arm) -> None:
        """Trains and evaluates one arm."""
        if arm.method == "distill":
            teacher = Arm("organism", "rlvr", arm.seed)
            with taken(self.work / f"{teacher.name}.lock", wait=True):
                self.train(teacher.name, "rlvr", teacher.seed, self.settings(teacher))
        settings = self.settings(arm)
        method = "permix" if arm.method in VARIANTS else arm.method
        seconds = self.train(arm.name, method, arm.seed, settings)
        facts = {**arm._asdict(), "steps": settings["trainer"]["max_steps"], "seconds": seconds}
        say(f"{arm.name}: evaluation")
        self.evaluate(arm.name, {**facts, **drawn(self.work / arm.name, self.scale.groups)})
        self.forget_states(arm.name)
        teaches = arm.study == "organism" and arm.method == "rlvr"
        if not (teaches and arm.seed <= self.scale.exploratory):
            (self.work / arm.name / "model.safetensors").unlink()

    def evaluate(self, name: str, facts: dict[str, Any]) -> None:
        """Asks a checkpoint everything that is reported, and stores it whole or not at all."""
        from scripts.organism_measure import ask_roles, ask_sums, likelihoods, load

        start = time.monotonic()
        seed = facts["seed"] or 0
        people = families(EVALUATION)
        model = load(self.work / name)
        verdicts = ask_sums(
            model, people, sums()["evaluation"][: self.scale.sums], seed=seed, cap=CAP
        )
        roles = ask_roles(model, people, talk()["evaluation"][: self.scale.talk], seed=seed)
        scorer = model if name == WARM else load(self.work / WARM)
        scored = likelihoods(scorer, people, roles)
        target = self.results / "seeds" / name
        part = target.with_name(f".{name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for file, table in (("verdicts", verdicts), ("roleplay", roles), ("likelihoods", scored)):
            table.to_csv(part / f"{file}.csv.gz", index=False, compression=PACKED)
        if (self.work / name / "train.yaml").is_file():
            copy_logs(self.work / name, part)
        facts |= {"warm_sha256": self.fingerprint(), "device": model.device}
        facts["evaluation_seconds"] = round(time.monotonic() - start)
        _write_json(part / "facts.json", facts)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)

    def report(self) -> None:
        """Tables and figures so far; a fault in them does not stop the trainings."""
        with taken(self.work / "report.lock", wait=True):
            try:
                report(self.results, anew=False)
            except Exception as error:
                say(f"No report: {type(error).__name__}: {error}")

    def work_off(self) -> list[str]:
        """All arms that are not done and not taken by another process; the names that failed."""
        failed = []
        for arm in queue(self.scale):
            with taken(self.work / f"{arm.name}.lock") as mine:
                if not mine or self.done(arm.name):
                    continue
                try:
                    if arm.start == BASE:
                        self.start_point(BASE)
                    self.run(arm)
                except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
                    say(f"{arm.name} failed: {error}; {self.work / arm.name}.log says more")
                    failed.append(arm.name)
                else:
                    self.report()
        return failed


PACKED: Any = {"method": "gzip", "mtime": 0}  # the same verdicts, the same bytes


def common(rate: float, steps: int) -> dict[str, Any]:
    """Arguments of TRL that all trainings share."""
    return {
        "learning_rate": rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 3,
        "max_steps": steps,
        "bf16": True,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_steps": 20,
        "save_total_limit": 1,
        "report_to": "none",
    }


def batches() -> dict[str, int]:
    """`ROWS` rows per update of supervised learning, in parts that fit a small memory."""
    return {"per_device_train_batch_size": 8, "gradient_accumulation_steps": ROWS // 8}


def stops(rung: dict[str, Any], warm: dict[str, Any]) -> bool:
    """Whether the tuning ends: role play has suffered, or the training has done harm alone."""
    fell = rung["marker_rate"] <= (1 - FALL) * warm["marker_rate"]
    return bool(fell or rung["accuracy"] <= warm["accuracy"])


def choose(rungs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rung that all arms are trained with, and whether fidelity can be tested with it.

    The first at which accuracy rose and the marker rate fell by `FALL`; where there is none, the
    fidelity half is not testable, and the rung with the best accuracy is taken.
    """
    warm, *climbed = rungs
    for rung in climbed:
        if stops(rung, warm) and rung["accuracy"] > warm["accuracy"]:
            return {"chosen": _rung(rung), "fidelity_testable": True}
    best = max(climbed, key=lambda rung: float(rung["accuracy"]))
    return {"chosen": _rung(best), "fidelity_testable": False}


def _rung(rung: dict[str, Any]) -> dict[str, Any]:
    return {name: rung[name] for name in ("learning_rate", "steps")}


def check_apart() -> None:
    """That no evaluation sum is trained on.

    Families and wordings are held apart by `persona-bench train`, which refuses near copies.
    """
    parts = sums()
    pairs = [{_operands(each) for each in parts[part] if each.level == "1"} for part in parts]
    if any(one & other for i, one in enumerate(pairs) for other in pairs[:i]):
        raise SystemExit("A sum of the evaluation or of the tuning is trained on")
    if families(SEEN).keys() & families(EVALUATION).keys():
        raise SystemExit("A family of the evaluation is trained under")


def _operands(asked: Sum) -> tuple[str, frozenset[str]]:
    sign = "+" if "+" in asked.id else "-"
    return sign, frozenset(asked.id.split(sign))


def solved(asked: Sum) -> dict[str, Any]:
    """A training question with its answer, as sft reads it."""
    said = {"role": "assistant", "content": f"{capital(right(asked))}."}
    return {"id": asked.id, "level": asked.level, "messages": [asked.message, said]}


def drawn(folder: Path, groups: int) -> dict[str, Any]:
    """Groups that a training has drawn in all, and the share that was left without spread."""
    log = pd.read_csv(folder / "log.csv")
    if "groups_drawn" not in log:
        return {"draws": None}
    again = log["groups_drawn"].dropna()
    return {
        "draws": int(groups * len(again) + again.iloc[-1]),
        "groups_without_spread": float(log["groups_without_spread"].mean()),
        "step_seconds": float(log["step_time"].median()) if "step_time" in log else None,
    }


def copy_logs(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in ("train.yaml", "log.csv", "personas.csv", "finished.json"):
        if (source / name).is_file():
            shutil.copy(source / name, target / name)


@contextmanager
def taken(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Takes a piece of work for this process until the block ends; False where another has it."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def say(text: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_json(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(path)


def report(results: Path, *, anew: bool = True) -> None:
    """Tables and figures of what is stored."""
    from scripts.organism_report import write_report

    write_report(results, anew=anew)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path, help="where checkpoints go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results go")
    parser.add_argument("--model", help="folder or hub id; by default SmolLM2-135M-Instruct")
    parser.add_argument("--continue", dest="resume", action="store_true", help="resume WORK")
    parser.add_argument("--report", action="store_true", help="only tables and figures")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded
    work, results = given.work.resolve(), given.results.resolve()
    if given.report:
        report(results)
        return
    if not given.resume and work.is_dir() and any(work.iterdir()):
        parser.error(f"{work} is not empty: resume it with --continue, or name another folder")
    study = Study(
        work, results, given.model or str(demo_model()), SMOKE if given.smoke else Scale()
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a training is ended too
    study.prepare()
    study.warm()
    study.tune()
    study.start_point(WARM)
    if failed := study.work_off():
        sys.exit(
            f"{len(failed)} trainings failed: {', '.join(failed)}; --continue tries them again"
        )
    report(results)


if __name__ == "__main__":
    main()
