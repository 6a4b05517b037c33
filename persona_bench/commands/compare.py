"""`persona-bench compare`: stored runs, paired, on the tasks that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persona_bench.commands import options

COMPARED = "What is compared"


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_A RUN_B ...",
            help="Output folders of one model each, or NAME=FOLDER; differences are from RUN_A.",
        ),
    ],
    common: Annotated[
        bool,
        typer.Option(
            "--common",
            help="Compare only the questions and personas that all have.",
            rich_help_panel=COMPARED,
        ),
    ] = False,
    by_method: Annotated[
        bool,
        typer.Option(
            "--by-method",
            help="Compare training methods, with the seed as the unit: METHOD@SEED=FOLDER ...",
            rich_help_panel=COMPARED,
        ),
    ] = False,
    allow_different_generation: Annotated[
        bool,
        typer.Option(
            "--allow-different-generation",
            help="Compare also runs with other temperature, tokens, samples, ..., and say so.",
            rich_help_panel=COMPARED,
        ),
    ] = False,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write tables, figures and the page (index.html) here.",
            rich_help_panel=options.RESULTS,
        ),
    ] = None,
    training: Annotated[
        list[str] | None,
        typer.Option(
            "--training",
            metavar="[NAME=]FOLDER",
            help="Draw the training of this checkpoint too (may be repeated).",
            rich_help_panel=options.RESULTS,
        ),
    ] = None,
    width: Annotated[
        float,
        typer.Option(
            help="Inches of the figures, as printed: 5.5 NeurIPS, 3.25 ICML.",
            rich_help_panel=options.RESULTS,
        ),
    ] = 5.5,
    serif: Annotated[
        bool,
        typer.Option("--serif", help="Figures in a serif font.", rich_help_panel=options.RESULTS),
    ] = False,
    no_page: options.NoPage = False,
    as_json: options.Json = False,
) -> None:
    """Compare models on the same questions and personas: accuracy, PSS, fidelity, p-values.

    Example: persona-bench compare base=results/base tuned=results/tuned --out report
    """
    from persona_bench.results.runs import read_runs

    models = read_runs(runs, asked=not no_page and out_folder is not None)
    if by_method:
        from persona_bench.report.methods import compare_by_method

        compare_by_method(
            models,
            out_folder,
            allow_different_generation=allow_different_generation,
            as_json=as_json,
        )
        return
    trainings = None
    if training:  # an error in them is reported before anything is computed
        from persona_bench.extras.training.page import Trainings

        trainings = Trainings(training)
    from persona_bench.report.compare import compare_runs
    from persona_bench.report.sections import installed

    compare_runs(
        models,
        out_folder,
        common=common,
        allow_different_generation=allow_different_generation,
        trainings=trainings,
        paper=next(iter(installed(["paper.comparison"])), None),
        look={"width": width, "font": "serif" if serif else "sans"},
        page=not no_page,
        as_json=as_json,
    )
