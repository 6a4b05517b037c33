"""The options that several subcommands share, with lm-eval's names and meanings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgs = Annotated[
    str,
    typer.Option("--model-args", help="As lm-eval's, e.g. pretrained=ORG/NAME."),
]
OutputPath = Annotated[Path, typer.Option("--output-path", help="Where results go.")]
GenKwargs = Annotated[str, typer.Option("--gen-kwargs", help="As lm-eval's.")]
BatchSize = Annotated[str | None, typer.Option("--batch-size", help="As lm-eval's.")]
Device = Annotated[str | None, typer.Option(help="cuda, cpu, ...")]
ChatTemplate = Annotated[
    bool,
    typer.Option(
        "--apply-chat-template/--no-chat-template",
        help="Personas are system messages only with a chat template.",
    ),
]
ConfirmUnsafe = Annotated[
    bool,
    typer.Option(
        "--confirm-run-unsafe-code",
        help="For persona_livecodebench, which runs programs that the model wrote.",
    ),
]
Score = Annotated[bool, typer.Option("--score/--no-score", help="Score at the end.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show lm-eval's log.")]
