"""`persona-bench judge`: LLM-judged fidelity of stored responses, and the judge's own audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from persona_bench.commands.score import score_folder
from persona_bench.failures import missing

if TYPE_CHECKING:
    from persona_bench.judge.client import Price
    from persona_bench.judge.run import Finished
    from persona_bench.judge.session import Estimate, Plan

JUDGES = "Judges"
COST = "Calls and cost"
err = Console(stderr=True)


def judge(
    judges: Annotated[
        list[str],
        typer.Option(
            "--judge",
            metavar="MODEL|FILE",
            help="A model at the endpoint (may be repeated), or a YAML file with more settings "
            "(docs/fidelity.md).",
            rich_help_panel=JUDGES,
        ),
    ],
    results: Annotated[
        Path | None,
        typer.Argument(help="The run's --output-path; --entry-test also works without one."),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="OpenAI-compatible endpoint, as http://HOST/v1; OpenAI's by default.",
            rich_help_panel=JUDGES,
        ),
    ] = None,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Measure the judge too: retest, persona swap, length.",
            rich_help_panel=JUDGES,
        ),
    ] = False,
    entry_test: Annotated[
        bool | None,
        typer.Option(
            "--entry-test/--no-entry-test",
            help="Have the judges take the entry test first, and refuse those that fail it; "
            "--no-entry-test: let judges judge that have failed it.",
            rich_help_panel=JUDGES,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Calls at a time; 16 by default.", rich_help_panel=COST),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[MODEL=]IN,OUT",
            help="US dollars per million prompt and completion tokens (may be repeated).",
            rich_help_panel=COST,
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost",
            min=0,
            help="Stop before spending more US dollars than this.",
            rich_help_panel=COST,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many calls it takes, and about what they cost.",
            rich_help_panel=COST,
        ),
    ] = False,
) -> None:
    """Have judges score how well stored responses play their personas.

    Each verdict is stored at once: a judging that was killed resumes with the same command, and
    one that is repeated makes no calls.

    Example: persona-bench judge results/roles --judge MODEL
    --base-url http://HOST:PORT/v1 --audit
    """
    from persona_bench.judge.run import find_store
    from persona_bench.judge.settings import judge_plan, read_judges

    if results is None and not entry_test:
        raise ValueError(
            "give the run's --output-path; only the judges' --entry-test works without one"
        )
    given = {"base_url": base_url, "audit": audit or None, "concurrency": concurrency}
    settings = read_judges(judges).model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    with TemporaryDirectory() as scratch:  # where the test is stored if there is no run
        store = find_store(results) if results else Path(scratch)
        plan = judge_plan(settings, store, _prices(price or [], settings.names))
        plan = replace(plan, entry_test=entry_test)
        if max_cost is not None:
            plan = replace(plan, max_cost=max_cost)
        if results is None:
            test_judges(plan, dry_run=dry_run)
        else:
            judge_results(results, plan, dry_run=dry_run)


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
    dry_run: bool = False,
    do_score: bool = True,
) -> None:
    """Carries a plan out on an output folder, and scores it.

    Raises:
        JudgeError: a cost limit was reached, or see `Judging.run`; what was had is kept.
    """
    from persona_bench.judge.client import JudgeError
    from persona_bench.judge.run import Judging, find_judged

    needed = ["openai", *(["krippendorff"] if plan.audit or len(plan.judges) > 1 else [])]
    if not dry_run and (problem := missing(*needed)):
        raise JudgeError(problem)
    judged = find_judged(results)
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
        score_folder(results, folder / "scores", only_judged=True)
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
