"""`persona-bench run`: a model on persona tasks, or a whole study, and `merge` of its shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options
from persona_bench.commands.gate import parse_margins
from persona_bench.commands.judge import judge_results
from persona_bench.commands.score import score_folder

if TYPE_CHECKING:
    from persona_bench.harness.run import Asked
    from persona_bench.harness.study import Study
    from persona_bench.harness.until import Plan

OUTPUT = Path("persona-bench-results")
STUDIES = "Studies and shards"
STOPPING = "Stopping early"
MERGE = "A shard is not scored: once all are there, persona-bench merge {} --out FOLDER scores them"
err = Console(stderr=True)


def run(
    context: typer.Context,
    study: Annotated[
        Path | None,
        typer.Argument(help="A study file (YAML), instead of --model and what goes with it."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="lm-eval's backend: hf (default), vllm, an API, ...",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    model_args: options.ModelArgs = "",
    batch_size: options.BatchSize = None,
    device: Annotated[
        str | None, typer.Option(help="cuda, cpu, ...", rich_help_panel=options.MODEL)
    ] = None,
    no_chat_template: Annotated[
        bool,
        typer.Option(
            "--no-chat-template",
            help="Give the persona as plain text; it is a system message only with a template.",
            rich_help_panel=options.MODEL,
        ),
    ] = False,
    tasks: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="persona_math500 by default; any of lm-eval's, as gsm8k; or your own "
            "questions, as file:FILE or hub:ORG/NAME.",
            rich_help_panel=options.ASKED,
        ),
    ] = "",
    include_path: options.IncludePath = None,
    num_fewshot: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="As lm-eval's.", rich_help_panel=options.ASKED),
    ] = None,
    metadata: options.Metadata = "",
    gen_kwargs: options.GenKwargs = "",
    limit: Annotated[
        float | None,
        typer.Option(
            help="Only the first N prompts, a multiple of the number of personas.",
            rich_help_panel=options.ASKED,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of Python, NumPy, torch and of the samples; 1234 by default.",
            rich_help_panel=options.ASKED,
        ),
    ] = None,
    confirm_run_unsafe_code: options.ConfirmUnsafe = False,
    output_path: Annotated[
        Path | None,
        typer.Option(
            "--output-path",
            help=f"Where results go; {OUTPUT}/ by default.",
            rich_help_panel=options.RESULTS,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this model of the study (may be repeated).",
            rich_help_panel=STUDIES,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts of the questions (docs/scale.md).",
            rich_help_panel=STUDIES,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="decided",
            help="Ask blocks of questions, and stop when the model is known to be stable or "
            "unstable, or --against is decided (docs/stopping.md).",
            rich_help_panel=STOPPING,
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="With --until: stop when the gate against this run is decided.",
            rich_help_panel=STOPPING,
        ),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]LOSS",
            help="For --against: acceptable loss of mean accuracy (0.02), persona=0.02, pss=0.05, "
            "as in persona-bench gate.",
            rich_help_panel=STOPPING,
        ),
    ] = None,
) -> None:
    """Run persona tasks on one model, or a whole study, with lm-eval; then score them.

    Every response is stored as soon as it is there: a run that was killed resumes when the same
    command is given again.

    Example: persona-bench run --model-args pretrained=ORG/MODEL
    --tasks persona_math500
    """
    from persona_bench.harness.run import RunError, parse_arguments
    from persona_bench.harness.study import read_study, thinking

    if until not in (None, "decided"):
        raise RunError(f"--until {until}: there is only --until decided")
    if against and not until:
        raise RunError("--against needs --until decided; for whole runs use persona-bench gate")
    if margin and not against:
        raise RunError("--margin belongs to --against; for whole runs use persona-bench gate")
    if until and (shard or limit is not None):
        raise RunError(
            "--until decides on random questions of the whole run: leave out "
            f"{'--shard' if shard else '--limit'}, and give a cap as n_questions in --metadata"
        )
    knobs = parse_arguments(metadata)
    margins = parse_margins(margin, ("persona", "pss"))
    if study is not None:
        given = {
            "--model": model, "--model-args": model_args, "--tasks": tasks, "--limit": limit,
            "--output-path": output_path, "--gen-kwargs": gen_kwargs, "--metadata": knobs,
            "--batch-size": batch_size, "--device": device, "--seed": seed,
            "--no-chat-template": no_chat_template,
            "--include-path": include_path, "--num-fewshot": num_fewshot,
            "--against": against,
        }  # fmt: skip
        extra = [flag for flag, value in given.items() if value not in (None, "", {}, False)]
        if extra:
            raise RunError(f"{extra[0]} belongs into {study}, where a study file is given")
        plan = read_study(study)
        if confirm_run_unsafe_code:
            plan = plan.model_copy(update={"confirm_run_unsafe_code": True})
        flags = [options.VERBOSE] if options.is_verbose(context) else []
        flags += ["--confirm-run-unsafe-code"] if confirm_run_unsafe_code else []
        flags += ["--until", until] if until else []
        run_study(study, plan, only, shard, dry_run=dry_run, flags=flags)
        return
    if only:
        raise RunError("--only chooses models of a study file: give the file, or leave it out")
    backend, arguments = model or "hf", parse_arguments(model_args)
    arguments, of_thinking = thinking(backend, arguments)
    generation = {**of_thinking, **parse_arguments(gen_kwargs)}
    run_model(
        backend,
        arguments,
        tasks=[name.strip() for name in (tasks or "persona_math500").split(",") if name.strip()],
        knobs=knobs,
        generation=generation,
        include_path=tuple(map(str, include_path or ())),
        num_fewshot=num_fewshot,
        output_path=output_path or OUTPUT,
        shard=shard,
        dry_run=dry_run,
        of_session={
            "batch_size": batch_size,
            "device": device,
            "verbose": options.is_verbose(context),
        },
        of_run={
            "limit": limit,
            "confirm_run_unsafe_code": confirm_run_unsafe_code,
            "apply_chat_template": not no_chat_template,
        },
        seed=1234 if seed is None else seed,
        until=until,
        against=against,
        margins=margins,
    )


def run_model(
    backend: str,
    arguments: dict[str, Any],
    *,
    tasks: list[str],
    knobs: dict[str, Any],
    generation: dict[str, Any],
    include_path: tuple[str, ...] = (),
    num_fewshot: int | None = None,
    output_path: Path,
    shard: str | None,
    dry_run: bool,
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
    from persona_bench.harness.study_run import ask, shard_folder
    from persona_bench.report.dry_run import print_plans

    check_tasks(tasks, include_path)
    check_model(backend, arguments, device=of_session["device"])
    if shard and of_run["limit"] is not None:
        raise RunError("--limit and --shard: choose questions with n_questions in --metadata")
    knobs = {**knobs, **({"shard": shard} if shard else {})}
    asked = [Asked(task, knobs, generation, include_path, num_fewshot) for task in tasks]
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
        _says_how_to_score(output_path, shard),
        Session(
            backend, arguments, output_path, store=store, seed=seed, say=say, **of_session
        ) as session,
    ):
        table, gates = ask(session, asked, plans, folder, of_run)
    if table and shard:
        say(MERGE.format(output_path))
    elif table:
        score_folder(folder, folder / "scores")
    if gates:
        from persona_bench.report.gate import print_gates
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
    from persona_bench.harness.until import Base, plan_tasks

    base = None
    if against is not None:
        from persona_bench.report.gate import named_alike, read_tables

        graded = named_alike(read_tables(against).graded, [each.name for each in asked])
        base = Base(str(against), graded, margins or {})
    confirmed = bool(of_run.get("confirm_run_unsafe_code"))
    return plan_tasks(asked, arguments, base, confirm_run_unsafe_code=confirmed)


def _looks(plan: Plan) -> str:
    looks = ", ".join(f"{n:,}" for n in plan.looks)
    return f"{plan.asked.name}: looks after {looks} questions; what follows is the whole"


def run_study(
    file: Path,
    study: Study,
    only: list[str] | None,
    shard: str | None,
    *,
    dry_run: bool,
    flags: list[str],
) -> None:
    """Every model of a study, each in a process of its own; one that fails does not stop others."""
    from persona_bench.harness.dry_run import plan_run
    from persona_bench.harness.run import check_writable
    from persona_bench.harness.study import check_study
    from persona_bench.harness.study_run import ask_models, is_child
    from persona_bench.report.dry_run import print_plans

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
    with _says_how_to_score(study.output_path, shard):
        asked_all = ask_models(file, study, models, shard, flags, say)
    if not asked_all or is_child():  # a rank that holds no results, or one model of a study
        return
    if shard:
        say(MERGE.format(study.output_path))
        if study.judge:
            say("Shards are judged once they are merged: persona-bench judge")
        return
    if study.judge:
        from persona_bench.judge.settings import judge_plan

        judge_results(study.output_path, judge_plan(study.judge, store), do_score=False)
    score_folder(study.output_path, study.output_path / "scores")


@contextmanager
def _says_how_to_score(output_path: Path, shard: str | None) -> Iterator[None]:
    """After Ctrl-C: how to score what is stored so far."""
    from persona_bench.harness.study_run import is_child

    try:
        yield
    except KeyboardInterrupt:
        if not shard and not is_child() and any(output_path.glob("store/generations/*/*.jsonl")):
            say(f"persona-bench score {output_path} scores what is there")
        raise


def say(text: str) -> None:
    """A line for the person who waits."""
    err.print(escape(text), soft_wrap=True)


def merge(
    folders: Annotated[list[Path], typer.Argument(help="The output folders to join.")],
    out_folder: Annotated[
        Path,
        typer.Option("--out", help="Where the joined results go.", rich_help_panel=options.RESULTS),
    ],
) -> None:
    """Join the output folders of a study that ran on several machines, and score them.

    Example: persona-bench merge results/shard-1 results/shard-2 --out results/all
    """
    from persona_bench.harness.merge import merge as join_folders

    merged = join_folders(folders, out_folder)
    for model, task, count in merged.tasks:
        say(f"{task} of {model}: {count:,} responses")
    say(f"{merged.segments} files of the stores copied to {out_folder / 'store'}")
    if merged.tasks:
        score_folder(out_folder, out_folder / "scores")
