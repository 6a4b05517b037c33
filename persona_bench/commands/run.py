"""`persona-bench run`: a model on persona tasks, or a whole study, and `merge` of its shards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from persona_bench.commands import options
from persona_bench.commands.gate import print_gates, read_tables
from persona_bench.commands.judge import judge_study
from persona_bench.commands.score import score_folder

if TYPE_CHECKING:
    from persona_bench.harness.dry_run import TaskPlan
    from persona_bench.harness.run import Asked, Session
    from persona_bench.harness.study import Study, StudyModel
    from persona_bench.harness.until import Plan
    from persona_bench.scoring.gate import Gate

OUTPUT = Path("persona-bench-results")
INTERRUPTED = 130
"""Exit code after Ctrl-C."""
err = Console(stderr=True)


def run(
    study: Annotated[
        Path | None,
        typer.Argument(help="A study file (YAML), instead of --model and what goes with it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="lm-eval's backend: hf (default), vllm, an API, ...")
    ] = None,
    model_args: options.ModelArgs = "",
    tasks: Annotated[
        str, typer.Option(help="Persona tasks, with commas; persona_math500 by default.")
    ] = "",
    output_path: Annotated[
        Path | None,
        typer.Option("--output-path", help=f"Where results go; {OUTPUT}."),
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="Only the first N prompts (a multiple of the personas).")
    ] = None,
    gen_kwargs: options.GenKwargs = "",
    metadata: Annotated[
        str, typer.Option(help='Knobs, e.g. \'{"persona_set": "wide", "n_personas": 32}\'.')
    ] = "",
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    apply_chat_template: options.ChatTemplate = True,
    system_instruction: Annotated[
        str | None,
        typer.Option("--system-instruction", help="Before each persona."),
    ] = None,
    log_samples: Annotated[
        bool, typer.Option("--log-samples", help="Always on.", hidden=True)
    ] = True,
    seed: Annotated[
        int | None, typer.Option(help="Of Python, NumPy, torch and the draws; 1234.")
    ] = None,
    enable_thinking: Annotated[
        bool | None,
        typer.Option(
            "--enable-thinking/--no-thinking",
            help="Let a thinking model think; its reasoning is kept apart from the answer.",
        ),
    ] = None,
    think_end_token: Annotated[
        str | None,
        typer.Option("--think-end-token", help="What ends the reasoning; </think>."),
    ] = None,
    hf_hub_log_args: Annotated[
        str,
        typer.Option(
            "--hf-hub-log-args",
            help="Push results to the Hugging Face hub, as lm-eval does: hub_results_org=ORG,...",
        ),
    ] = "",
    confirm_run_unsafe_code: options.ConfirmUnsafe = False,
    unsafe_no_sandbox: Annotated[
        bool,
        typer.Option(
            "--unsafe-no-sandbox",
            help="Run these programs as you, with all that you can reach, where no sandbox works.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this model of the study (may be repeated).")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="i/n: the i-th of n parts of the questions (docs/scale.md).")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="decided: ask blocks of questions and stop when the model is known to be stable "
            "or unstable, or --against is decided (docs/stopping.md).",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="With --until: stop when the gate against this run is decided."),
    ] = None,
    margin: Annotated[
        float, typer.Option(help="For --against: margin of the mean accuracy.")
    ] = 0.02,
    margin_persona: Annotated[
        float | None, typer.Option(help="For --against: margin under each persona; --margin.")
    ] = None,
    margin_pss: Annotated[float, typer.Option(help="For --against: margin of the PSS.")] = 0.05,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and what is done.")
    ] = False,
    do_score: options.Score = True,
    verbose: options.Verbose = False,
) -> None:
    """Run persona tasks on one model, or a whole study, with lm-eval; then score them.

    Every response is stored as soon as it is there: a run that was killed continues with the
    same command.
    """
    from persona_bench.harness.run import RunError, parse_arguments
    from persona_bench.harness.study import read_study, thinking

    if until not in (None, "decided"):
        raise RunError(f"--until {until}: there is only --until decided")
    if against and not until:
        raise RunError("--against needs --until decided; for whole runs use persona-bench gate")
    if until and (shard or limit is not None):
        raise RunError(
            "--until decides on random questions of the whole run: leave out "
            f"{'--shard' if shard else '--limit'}, and give a cap as n_questions in --metadata"
        )
    knobs = parse_arguments(metadata)
    if unsafe_no_sandbox:
        knobs["unsafe_no_sandbox"] = True
    if study is not None:
        given = {
            "--model": model, "--model-args": model_args, "--tasks": tasks, "--limit": limit,
            "--output-path": output_path, "--gen-kwargs": gen_kwargs, "--metadata": knobs,
            "--batch-size": batch_size, "--device": device, "--seed": seed,
            "--system-instruction": system_instruction, "--think-end-token": think_end_token,
            "--enable-thinking": enable_thinking, "--hf-hub-log-args": hf_hub_log_args,
            "--no-chat-template": not apply_chat_template, "--against": against,
        }  # fmt: skip
        extra = [flag for flag, value in given.items() if value not in (None, "", {}, False)]
        if extra:
            raise RunError(f"{extra[0]} belongs into {study}, where a study file is given")
        plan = read_study(study)
        if confirm_run_unsafe_code:
            plan = plan.model_copy(update={"confirm_run_unsafe_code": True})
        flags = ["--verbose"] if verbose else []
        flags += ["--confirm-run-unsafe-code"] if confirm_run_unsafe_code else []
        flags += ["--until", until] if until else []
        run_study(study, plan, only, shard, dry_run=dry_run, do_score=do_score, flags=flags)
        return
    if only:
        raise RunError("--only chooses models of a study file: give the file, or leave it out")
    backend, arguments = model or "hf", parse_arguments(model_args)
    generation = parse_arguments(gen_kwargs)
    arguments |= thinking(backend, arguments, enable_thinking, think_end_token)
    from persona_bench.harness.fingerprint import is_api

    if enable_thinking is not None and is_api(backend, arguments):
        generation["chat_template_kwargs"] = {"enable_thinking": enable_thinking}
    run_model(
        backend,
        arguments,
        tasks=[name.strip() for name in (tasks or "persona_math500").split(",") if name.strip()],
        knobs=knobs,
        generation=generation,
        output_path=output_path or OUTPUT,
        shard=shard,
        dry_run=dry_run,
        do_score=do_score,
        of_session={
            "batch_size": batch_size,
            "device": device,
            "verbose": verbose,
            "hub": parse_arguments(hf_hub_log_args),
        },
        of_run={
            "limit": limit,
            "confirm_run_unsafe_code": confirm_run_unsafe_code,
            "apply_chat_template": apply_chat_template,
            "system_instruction": system_instruction,
        },
        seed=1234 if seed is None else seed,
        until=until,
        against=against,
        margins={"margin": margin, "margin_persona": margin_persona, "margin_pss": margin_pss},
    )


def run_model(
    backend: str,
    arguments: dict[str, Any],
    *,
    tasks: list[str],
    knobs: dict[str, Any],
    generation: dict[str, Any],
    output_path: Path,
    shard: str | None,
    dry_run: bool,
    do_score: bool,
    of_session: dict[str, Any],
    of_run: dict[str, Any],
    seed: int,
    until: str | None = None,
    against: Path | None = None,
    margins: dict[str, Any] | None = None,
) -> None:
    """One model without a study file.

    Raises:
        typer.Exit: with `against`, the exit code of `persona-bench gate`.
    """
    from persona_bench.harness.dry_run import plan_run
    from persona_bench.harness.preflight import check_model
    from persona_bench.harness.run import Asked, RunError, Session, check_tasks

    check_tasks(tasks)
    check_model(backend, arguments, device=of_session["device"])
    if shard and of_run["limit"] is not None:
        raise RunError("--limit and --shard: choose questions with n_questions in --metadata")
    knobs = {**knobs, **({"shard": shard} if shard else {})}
    asked = [Asked(task, knobs, generation) for task in tasks]
    store = output_path / "store"
    plans = None
    if until:
        plans = _plans(asked, arguments, of_run, against, margins or {})
    if dry_run:
        for plan in plans or ():
            say(_looks(plan))
        print_plans({backend: plan_run(backend, arguments, asked, store, seed=seed, **of_run)})
        return
    folder = shard_folder(output_path, shard)
    with (
        _says_how_to_score(output_path, do_score),
        Session(
            backend, arguments, output_path, store=store, seed=seed, say=say, **of_session
        ) as session,
    ):
        table, gates = _ask(session, asked, plans, folder, of_run)
    if table and do_score:
        score_folder(folder, folder / "scores", page=not shard)  # a shard is a part: no page
    if gates:
        from persona_bench.scoring.gate import EXIT_CODES, combined

        verdict = combined([each.verdict for each in gates.values()])
        print_gates(gates, verdict)
        raise typer.Exit(EXIT_CODES[verdict])


def _plans(
    asked: list[Asked],
    arguments: dict[str, Any],
    of_run: Mapping[str, Any],
    against: Path | None = None,
    margins: Mapping[str, Any] | None = None,
) -> list[Plan]:
    """What `--until decided` asks of each task, at most."""
    from persona_bench.harness.run import RunError
    from persona_bench.harness.until import Base, plan_tasks

    base = None
    if against is not None:
        graded = read_tables(against).graded
        if against.suffix.lower() == ".csv":
            if len(asked) > 1:
                raise RunError(f"--against {against} holds one task, but {len(asked)} are asked")
            graded = {asked[0].task: graded["outcomes"]}
        base = Base(str(against), graded, margins or {})
    confirmed = bool(of_run.get("confirm_run_unsafe_code"))
    return plan_tasks(asked, arguments, base, confirm_run_unsafe_code=confirmed)


def _looks(plan: Plan) -> str:
    looks = ", ".join(f"{n:,}" for n in plan.looks)
    return f"{plan.asked.task}: looks after {looks} questions; what follows is the whole"


def _ask(
    session: Session,
    asked: list[Asked],
    plans: list[Plan] | None,
    folder: Path,
    of_run: Mapping[str, Any],
) -> tuple[bool, dict[str, Gate]]:
    """Runs the tasks, or their plans; returns whether results are here, and what gates said."""
    if plans is None:
        return bool(session.run(asked, output_path=folder, **of_run)), {}
    from persona_bench.harness.until import run_until_decided
    from persona_bench.scoring.gate import Gate

    settings = {name: value for name, value in of_run.items() if name != "limit"}
    found = run_until_decided(session, plans, output_path=folder, **settings)
    gates = {each.plan.asked.task: each.result for each in found if isinstance(each.result, Gate)}
    return bool(found), gates


def run_study(
    file: Path,
    study: Study,
    only: list[str] | None,
    shard: str | None,
    *,
    dry_run: bool,
    do_score: bool,
    flags: list[str],
) -> None:
    """Every model of a study, each in a process of its own; one that fails does not stop others."""
    from persona_bench.harness.dry_run import plan_run
    from persona_bench.harness.run import check_writable
    from persona_bench.harness.study import check_study

    models = study.chosen(only)
    check_study(study, models, shard)
    until = "--until" in flags
    if until:  # what can't be decided is said before anything is asked
        for model in models:
            of_run = {"confirm_run_unsafe_code": study.confirm_run_unsafe_code}
            _plans(study.asked(model), model.arguments(), of_run)
    store = study.output_path / "store"
    if dry_run:
        plans = {}
        for model in models:
            plans[model.name] = plan_run(
                model.model,
                model.arguments(),
                study.asked(model, shard),
                store,
                seed=study.seed,
                confirm_run_unsafe_code=study.confirm_run_unsafe_code,
                apply_chat_template=model.apply_chat_template,
                system_instruction=study.system_instruction,
            )
        print_plans(plans)
        return
    check_writable(study.output_path)
    with _says_how_to_score(study.output_path, do_score):
        asked_all = _ask_all(file, study, models, shard, flags)
    if not asked_all:  # a rank that holds no results
        return
    if study.judge and shard:
        say("Shards are judged once they are merged: persona-bench judge")
    elif study.judge and do_score:
        judge_study(study.output_path, study.judge)
    if do_score:
        folder = shard_folder(study.output_path, shard)
        score_folder(folder, folder / "scores", page=not shard)


def _ask_all(
    file: Path, study: Study, models: list[StudyModel], shard: str | None, flags: list[str]
) -> bool:
    """Asks every model; returns whether this process holds results.

    Raises:
        RunError: a model did not finish; the others did all the same.
    """
    from persona_bench.harness.run import RunError

    if len(models) == 1:
        return _run_one(study, models[0], shard, flags)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError(
            "under a launcher of several processes a study runs one model at a time: add --only, "
            f"one of {', '.join(model.name for model in models)}"
        )
    failed = []
    for number, model in enumerate(models, start=1):
        say(f"Model {number} of {len(models)}: {model.name}")
        command = [sys.executable, "-m", "persona_bench", "run", str(file)]
        command += ["--only", model.name, "--no-score", *flags]
        command += ["--shard", shard] if shard else []
        if _run_child(command):  # a process of its own: a GPU is free again after it
            failed.append(model.name)
    if failed:
        raise RunError(
            f"{', '.join(failed)} did not finish (see above); what was done is kept: run the "
            "same command again to go on"
        )
    return True


@contextmanager
def _says_how_to_score(output_path: Path, do_score: bool) -> Iterator[None]:
    """After Ctrl-C: how to score what is stored so far."""
    try:
        yield
    except KeyboardInterrupt:
        if do_score and any(output_path.glob("store/generations/*/*.jsonl")):
            say(f"persona-bench score {output_path} scores what is there")
        raise


def _run_child(command: list[str]) -> int:
    """Runs one model in a process of its own; returns its exit code.

    On Ctrl-C the process, which gets it too, says what is stored, and is waited for.

    Raises:
        KeyboardInterrupt: this process or the other one was interrupted.
    """
    with subprocess.Popen(command) as child:
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


def _run_one(study: Study, model: StudyModel, shard: str | None, flags: list[str]) -> bool:
    from persona_bench.harness.run import Session

    of_run = {
        "confirm_run_unsafe_code": study.confirm_run_unsafe_code,
        "apply_chat_template": model.apply_chat_template,
        "system_instruction": study.system_instruction,
    }
    asked = study.asked(model, shard)
    plans = _plans(asked, model.arguments(), of_run) if "--until" in flags else None
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
        return _ask(session, asked, plans, shard_folder(study.output_path, shard), of_run)[0]


def shard_folder(output_path: Path, shard: str | None) -> Path:
    """Where the results of a shard go: a folder of its own below the run's."""
    return output_path / f"shard-{shard.replace('/', '-of-')}" if shard else output_path


def say(text: str) -> None:
    """A line for the person who waits."""
    err.print(escape(text), soft_wrap=True)


def print_plans(plans: dict[str, list[TaskPlan]]) -> None:
    """What would run: a row for each model and task."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("model", "task", "responses", "done", "to do", "prompt tokens", "new at most"):
        table.add_column(name, justify="left" if name in ("model", "task") else "right")
    notes = []
    for model, parts in plans.items():
        for plan in parts:
            todo = plan.prompts - (plan.done or 0)
            tokens = "?" if plan.prompt_tokens is None else f"{plan.prompt_tokens:,}"
            done = "?" if plan.done is None else f"{plan.done:,}"
            table.add_row(
                escape(model), plan.task, f"{plan.prompts:,}", done, f"{todo:,}", tokens,
                f"{plan.most_tokens:,}",
            )  # fmt: skip
            notes += [plan.note] if plan.note and plan.note not in notes else []
    out = Console()
    out.print(table)
    for note in notes:
        out.print(f"done is not known: {escape(note)}", soft_wrap=True)
    out.print("Tokens are of what is to do; nothing was asked.", soft_wrap=True)


def merge(
    folders: Annotated[list[Path], typer.Argument(help="The output folders to join.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the joined results go.")],
    do_score: options.Score = True,
) -> None:
    """Join the output folders of a study that ran on several machines."""
    from persona_bench.harness.merge import merge as join_folders

    found = join_folders(folders, out_folder)
    for model, task, count in found.tasks:
        say(f"{task} of {model}: {count:,} responses")
    say(f"{found.segments} files of the stores copied to {out_folder / 'store'}")
    if found.tasks and do_score:
        score_folder(out_folder, out_folder / "scores")
