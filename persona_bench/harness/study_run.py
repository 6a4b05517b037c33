"""Asks the models of a study: one in this process, several in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from persona_bench.harness.run import Asked, RunError, Session
from persona_bench.harness.study import Study, StudyModel
from persona_bench.harness.until import Plan, plan_tasks, run_until_decided
from persona_bench.scoring.gate import Gate

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
CHILD = "PERSONA_BENCH_STUDY_CHILD"
"""Environment variable of processes that ask one model of a study."""


def ask_models(
    file: Path,
    study: Study,
    models: list[StudyModel],
    shard: str | None,
    flags: list[str],
    say: Callable[[str], None],
) -> bool:
    """Asks every model of a study; returns whether this process holds results.

    Args:
        file: The study's file.
        study: What is in it.
        models: Those of its models that are asked; several run in processes of their own.
        shard: Which part of the questions is asked, as `i/n`.
        flags: Options of `persona-bench run` that each process takes too.
        say: Receives progress messages.

    Raises:
        RunError: a model did not finish; the others did all the same.
    """
    if len(models) == 1:
        return _ask_model(study, models[0], shard, flags, say)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError(
            "under a launcher of several processes a study runs one model at a time: add --only, "
            f"one of {', '.join(model.name for model in models)}"
        )
    failed = []
    for number, model in enumerate(models, start=1):
        say(f"Model {number} of {len(models)}: {model.name}")
        command = [sys.executable, "-m", "persona_bench", "run", str(file)]
        command += ["--only", model.name, *flags]
        command += ["--shard", shard] if shard else []
        if _run_child(command):  # a process of its own: a GPU is free again after it
            failed.append(model.name)
    if failed:
        raise RunError(
            f"{', '.join(failed)} did not finish (see above); what was done is kept: run the "
            "same command again to go on"
        )
    return True


def is_child() -> bool:
    """Whether this process asks one model of a study whose scores another process makes."""
    return CHILD in os.environ


def _ask_model(
    study: Study, model: StudyModel, shard: str | None, flags: list[str], say: Callable[[str], None]
) -> bool:
    of_run = {
        "confirm_run_unsafe_code": study.confirm_run_unsafe_code,
        "apply_chat_template": model.apply_chat_template,
        "system_instruction": study.system_instruction,
    }
    asked = study.asked(model, shard)
    plans = None
    if "--until" in flags:
        confirmed = study.confirm_run_unsafe_code
        plans = plan_tasks(asked, model.arguments(), None, confirm_run_unsafe_code=confirmed)
    with Session(
        model.model,
        model.arguments(),
        study.output_path,
        batch_size=None if model.batch_size is None else str(model.batch_size),
        device=model.device,
        name=model.name,
        seed=study.seed,
        verbose="--verbose" in flags,
        say=say,
        hub=study.hf_hub_log_args,
    ) as session:
        return ask(session, asked, plans, shard_folder(study.output_path, shard), of_run)[0]


def ask(
    session: Session,
    asked: list[Asked],
    plans: list[Plan] | None,
    folder: Path,
    of_run: Mapping[str, Any],
) -> tuple[bool, dict[str, Gate]]:
    """Runs the tasks, or their plans; returns whether this process holds results, and the gates.

    Args:
        session: The model.
        asked: The tasks.
        plans: What `--until decided` asks of each task; None asks everything.
        folder: Where results go.
        of_run: Arguments of `Session.run`.
    """
    if plans is None:
        return bool(session.run(asked, output_path=folder, **of_run)), {}
    settings = {name: value for name, value in of_run.items() if name != "limit"}
    decided = run_until_decided(session, plans, output_path=folder, **settings)
    gates = {each.plan.asked.name: each.result for each in decided if isinstance(each.result, Gate)}
    return bool(decided), gates


def _run_child(command: list[str]) -> int:
    """Runs one model in a process of its own; returns its exit code.

    On Ctrl-C the process, which gets it too, says what is stored, and is waited for.

    Raises:
        KeyboardInterrupt: this process or the other one was interrupted.
    """
    with subprocess.Popen(command, env={**os.environ, CHILD: "1"}) as child:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            for patience, send in ((3, signal.SIGINT), (30, signal.SIGKILL)):
                try:
                    child.wait(patience)
                    break
                except subprocess.TimeoutExpired:  # it alone was not sent the signal, or it hangs
                    child.send_signal(send)
            raise
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    return code


def shard_folder(output_path: Path, shard: str | None) -> Path:
    """Where the results of a shard go: a folder of its own below the run's."""
    return output_path / f"shard-{shard.replace('/', '-of-')}" if shard else output_path
