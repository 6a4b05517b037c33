"""`persona-bench judge`: LLM-judged fidelity of stored responses, and the judge's own audit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from persona_bench.commands import options
from persona_bench.commands.score import score_folder
from persona_bench.failures import missing

if TYPE_CHECKING:
    from persona_bench.harness.study import StudyJudge
    from persona_bench.judge.client import Price
    from persona_bench.judge.run import Finished
    from persona_bench.judge.session import Estimate, Plan

err = Console(stderr=True)


def judge(
    judges: Annotated[
        list[str], typer.Option("--judge", help="A model at the endpoint (may be repeated).")
    ],
    results: Annotated[
        Path | None,
        typer.Argument(help="The run's --output-path; --entry-test also works without one."),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", help="OpenAI-compatible, as http://HOST/v1; OpenAI's."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this task (may be repeated); a graded one is judged for its voice."
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            help="Judge the voice of so many responses of a graded task, drawn "
            "within persona and verdict.",
        ),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Measure the judge too: retest, persona swap, length.")
    ] = False,
    entry_test: Annotated[
        bool | None,
        typer.Option(
            "--entry-test/--no-entry-test",
            help="Have the judges take the entry test first, and refuse those that fail it; "
            "--no-entry-test: let judges judge that have failed it.",
        ),
    ] = None,
    audited: Annotated[
        int, typer.Option("--audited", min=2, help="Responses of the retest, and of the swap.")
    ] = 100,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at a time.")] = 16,
    price: Annotated[
        list[str] | None,
        typer.Option(help="US dollars a million tokens: IN,OUT, or MODEL=IN,OUT."),
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0, help="Stop before more US dollars.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many calls, and about what cost.")
    ] = False,
    examples: Annotated[
        bool,
        typer.Option(
            "--examples/--no-examples",
            help="PersonaGym's rubrics: have an example of each score written first.",
        ),
    ] = True,
    examples_by: Annotated[
        str | None, typer.Option("--examples-by", help="Who writes these; the first judge.")
    ] = None,
    form: Annotated[
        str,
        typer.Option(help="json: held to a schema; text: a closing sentence; auto: what works."),
    ] = "auto",
    gen_kwargs: Annotated[
        str, typer.Option("--gen-kwargs", help="Over temperature=0,max_tokens=1024.")
    ] = "",
    key_variable: Annotated[
        str, typer.Option("--api-key-variable", help="The environment variable with the key.")
    ] = "OPENAI_API_KEY",
    timeout: Annotated[float, typer.Option(help="Seconds that a call may take.")] = 180.0,
    store: Annotated[Path | None, typer.Option(help="The store; the run's own by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the audit's draws.")] = 0,
    do_score: options.Score = True,
) -> None:
    """Have judges score how well stored responses play their personas.

    Each verdict is stored as soon as it is there: a judging that was killed continues with the
    same command, and one that is repeated makes no calls.
    """
    from persona_bench.harness.run import parse_arguments
    from persona_bench.judge.client import JudgeSettings
    from persona_bench.judge.run import find_store
    from persona_bench.judge.session import Plan

    if form not in ("auto", "json", "text"):
        raise ValueError(f"--form {form} is unknown: use auto, json or text")
    names = [*judges, *([examples_by] if examples_by else [])]
    prices = _prices(price or [], names)
    settings = {
        name: JudgeSettings(
            model=name,
            base_url=base_url,
            form=form,  # type: ignore[arg-type]
            gen_kwargs=parse_arguments(gen_kwargs),
            key_variable=key_variable,
            timeout=timeout,
            price=prices.get(name),
        )
        for name in names
    }
    if results is None and not entry_test:
        raise ValueError(
            "give the run's --output-path; only the judges' --entry-test works without one"
        )
    with TemporaryDirectory() as scratch:  # where the test is stored if there is no run
        plan = Plan(
            judges=[settings[name] for name in judges],
            store=store or (find_store(results) if results else Path(scratch)),
            concurrency=concurrency,
            max_cost=max_cost,
            examples=examples,
            examples_by=settings[examples_by] if examples_by else None,
            audit=audit,
            audited=audited,
            seed=seed,
            entry_test=entry_test,
        )
        if results is None:
            test_judges(plan, dry_run=dry_run)
        else:
            judge_results(
                results, plan, tasks=task, sample=sample, dry_run=dry_run, do_score=do_score
            )


def test_judges(plan: Plan, *, dry_run: bool) -> None:
    """Has the judges of a plan take the entry test, and nothing else.

    Raises:
        JudgeError: a judge failed it.
    """
    from persona_bench.judge.run import Judging

    judging = Judging(plan, say, bar=not dry_run)
    if dry_run:
        print_estimates(judging.estimates([]))
    else:
        judging.let_in()


def judge_results(
    results: Path,
    plan: Plan,
    *,
    tasks: list[str] | None = None,
    sample: int | None = None,
    dry_run: bool = False,
    do_score: bool = True,
) -> None:
    """Carries a plan out on an output folder, and scores it.

    Args:
        results: The folder.
        plan: The judges and their work.
        tasks: Only these; a graded one is judged for its voice. By default all judged tasks.
        sample: Number of responses of a graded task that are judged; by default all.
        dry_run: Only print what it would take.
        do_score: Score afterwards.

    Raises:
        JudgeError: a cost limit was reached, or see `Judging.run`; what was had is kept.
    """
    from persona_bench.judge.client import JudgeError
    from persona_bench.judge.responses import sample_responses
    from persona_bench.judge.run import Judging, find_judged

    needed = ["openai", *(["krippendorff"] if plan.audit or len(plan.judges) > 1 else [])]
    if not dry_run and (problem := missing(*needed)):
        raise JudgeError(problem)
    judged = find_judged(results, tasks)
    if sample is not None:
        judged = [sample_responses(each, sample, plan.seed) for each in judged]
    judging = Judging(plan, say, bar=not dry_run)
    if dry_run:
        print_estimates(judging.estimates(judged))
        return
    try:
        found = judging.run(judged)
    except KeyboardInterrupt:
        say(
            f"\nInterrupted: {judging.session.stored():,} verdicts are stored in {plan.store}; the "
            "same command asks only for the others"
        )
        raise
    tell(found)
    if do_score:
        folder = results if results.is_dir() else results.parent
        only_judged = all(each.samples.judged for each in judged)
        score_folder(results, folder / "scores", only_judged=only_judged)
    if found.left:
        raise JudgeError(
            f"{found.left:,} calls were not made, as they would have cost more than --max-cost "
            f"{plan.max_cost:g}: what is judged is kept and scored; raise it to go on"
        )


def tell(found: Finished) -> None:
    """What was asked, and what is missing."""
    for each in found.verdicts:
        missing = ", ".join(f"{reason} {n:,}" for reason, n in each.unscored.items())
        say(
            f"{each.task} of {Path(each.model).name}, {each.judge}: {each.done.made:,} verdicts, "
            f"{each.done.stored:,} from the store; unscored: {missing or 'none'}"
        )
    if found.without_examples:
        say(f"{found.without_examples:,} questions were judged without examples of the scores")
    if found.failed:
        say(f"{found.failed:,} requests failed for good: the same command asks for them again")
    if found.cost is not None:
        say(f"Cost: ${found.cost:.4f}")


def say(text: str) -> None:
    """A line for the person who waits."""
    err.print(escape(text), soft_wrap=True)


def print_estimates(rows: list[Estimate]) -> None:
    """What judging would take, a row for each judge and kind of call."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("judge", "what", "calls", "in the store", "prompt tokens", "new", "about $"):
        table.add_column(name, justify="left" if name in ("judge", "what") else "right")
    for row in rows:
        table.add_row(
            escape(row.judge), row.what, f"{row.calls:,}",
            "?" if row.stored is None else f"{row.stored:,}", f"{row.prompt_tokens:,}",
            f"{row.completion_tokens:,}", "?" if row.cost is None else f"{row.cost:,.2f}",
        )  # fmt: skip
    out = Console()
    out.print(table)
    if any(row.stored is None for row in rows):
        out.print("What is in the store is not known: the endpoint does not answer.")
    known = [row.cost for row in rows if row.cost is not None]
    total = f"about ${sum(known):,.2f}" if known else "the cost is not known without --price"
    out.print(
        f"{sum(row.calls for row in rows):,} calls, {total}. Tokens are estimated from characters; "
        "nothing was asked.",
        soft_wrap=True,
    )


def _prices(given: list[str], names: list[str]) -> dict[str, Price]:
    """`IN,OUT` for all judges, or `MODEL=IN,OUT` for one.

    Raises:
        ValueError: something else, or a price of nobody.
    """
    from persona_bench.judge.client import Price

    found: dict[str, Any] = {}
    for text in given:
        name, _, numbers = text.rpartition("=")
        try:
            prompt, completion = (float(number) for number in numbers.split(","))
        except ValueError:
            raise ValueError(
                f"--price {text!r} must be IN,OUT or MODEL=IN,OUT, in US dollars a million tokens"
            ) from None
        if name and name not in names:
            raise ValueError(f"--price {text!r}: there is no judge {name!r}")
        for each in [name] if name else names:
            found[each] = Price(prompt, completion)
    return found


def judge_study(output_path: Path, judge: StudyJudge) -> None:
    """Judges the responses of a study's judged tasks, as its `judge` block says."""
    from persona_bench.judge.client import JudgeSettings, Price
    from persona_bench.judge.session import Plan

    judges = [
        JudgeSettings(
            model=name,
            base_url=judge.base_url,
            form=judge.form,
            gen_kwargs=judge.gen_kwargs,
            key_variable=judge.api_key_variable,
            price=Price(*judge.price) if judge.price else None,
        )
        for name in judge.models
    ]
    plan = Plan(
        judges=judges,
        store=output_path / "store",
        concurrency=judge.concurrency,
        max_cost=judge.max_cost,
        examples=judge.examples,
        audit=judge.audit,
        audited=judge.audited,
    )
    judge_results(output_path, plan, do_score=False)
