"""`persona-bench judge`: LLM-judged fidelity of stored responses, and the judge's own audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_bench.commands.score import score_folder
from persona_bench.failures import missing

if TYPE_CHECKING:
    from persona_bench.judge.client import Price
    from persona_bench.judge.session import Plan

JUDGES = "Judges"
VOICE = "Voice of graded responses"
COST = "Calls and cost"


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
    sample: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Judge the voice of N responses of each graded task, drawn within persona and "
            "verdict.",
            rich_help_panel=VOICE,
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
        typer.Option(
            metavar="N", min=1, help="Calls at a time; 16 by default.", rich_help_panel=COST
        ),
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

    Given the samples file of a graded task, or --sample, they judge whether its responses are in
    their personas' voices.

    Each verdict is stored at once: a judging that was killed resumes with the same command, and
    one that is repeated makes no calls.

    Example: persona-bench judge results/roles --judge MODEL
    --base-url http://HOST:PORT/v1 --audit
    """
    from persona_bench.judge.run import find_store
    from persona_bench.judge.settings import judge_plan, read_judges

    given = {
        "base_url": base_url,
        "audit": audit or None,
        "concurrency": concurrency,
        "entry_test": entry_test,
    }
    settings = read_judges(judges).model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    if results is None and not settings.entry_test:
        raise ValueError(
            "give the run's --output-path; only the judges' --entry-test works without one"
        )
    with TemporaryDirectory() as scratch:  # where the test is stored if there is no run
        store = find_store(results) if results else Path(scratch)
        plan = judge_plan(settings, store, _prices(price or [], settings.names))
        if max_cost is not None:
            plan = replace(plan, max_cost=max_cost)
        if results is None:
            test_judges(plan, dry_run=dry_run)
        else:
            judge_results(results, plan, sample=sample, dry_run=dry_run)


def test_judges(plan: Plan, *, dry_run: bool) -> None:
    """Has the judges of a plan take the entry test, and nothing else.

    Raises:
        JudgeError: a judge failed it.
    """
    from persona_bench.judge.run import Judging
    from persona_bench.report.judging import print_estimates, say

    judging = Judging(plan, say, bar=not dry_run)
    if dry_run:
        print_estimates(judging.estimates([]))
    else:
        judging.let_in()


def judge_results(
    results: Path,
    plan: Plan,
    *,
    sample: int | None = None,
    dry_run: bool = False,
    do_score: bool = True,
) -> None:
    """Carries a plan out on an output folder, and scores it.

    Args:
        results: The folder, or one samples file.
        plan: The judges and their work.
        sample: Number of responses of each graded task whose voice is judged.
        dry_run: Only print what it would take.
        do_score: Score afterwards.

    Raises:
        JudgeError: a cost limit was reached, or see `Judging.run`; what was had is kept.
    """
    from persona_bench.judge.client import JudgeError
    from persona_bench.judge.run import Judging, find_judged
    from persona_bench.report.judging import print_estimates, say, tell

    needed = ["openai", *(["krippendorff"] if plan.audit or len(plan.judges) > 1 else [])]
    if not dry_run and (problem := missing(*needed)):
        raise JudgeError(problem)
    judged = find_judged(results, sample, plan.seed)
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
