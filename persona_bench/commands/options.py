"""What all subcommands share: common options with lm-eval's names, and how commands are added."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

MODEL = "Model"
ASKED = "What is asked"
RESULTS = "Results"

VERBOSE = "--verbose"

ModelArgs = Annotated[
    str,
    typer.Option(
        "--model-args",
        metavar="K=V,...",
        help="As lm-eval's: pretrained=ORG/NAME,...",
        rich_help_panel=MODEL,
    ),
]
OutputPath = Annotated[
    Path, typer.Option("--output-path", help="Where results go.", rich_help_panel=RESULTS)
]
GenKwargs = Annotated[
    str,
    typer.Option("--gen-kwargs", metavar="K=V,...", help="As lm-eval's.", rich_help_panel=ASKED),
]
Metadata = Annotated[
    str,
    typer.Option(
        "--metadata",
        metavar="JSON",
        help="Knobs, such as '{\"n_questions\": 100}' (docs/tasks.md).",
        rich_help_panel=ASKED,
    ),
]
BatchSize = Annotated[
    str | None, typer.Option("--batch-size", help="As lm-eval's.", rich_help_panel=MODEL)
]
ConfirmUnsafe = Annotated[
    bool,
    typer.Option(
        "--confirm-run-unsafe-code",
        help="Run programs that the model wrote (persona_livecodebench).",
        rich_help_panel=ASKED,
    ),
]
IncludePath = Annotated[
    list[Path] | None,
    typer.Option(
        "--include-path",
        metavar="FOLDER",
        help="A folder of further lm-eval tasks (may be repeated).",
        rich_help_panel=ASKED,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what is to do and what is done, and stop.", rich_help_panel=RESULTS
    ),
]
NoPage = Annotated[
    bool,
    typer.Option("--no-page", help="Leave out the figures and the page.", rich_help_panel=RESULTS),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=RESULTS),
]

ALWAYS_ON = frozenset(("--apply-chat-template", "--examples", "--log-samples", "--page", "--score"))
"""Flags that only say what happens anyway: accepted, as in commands copied from lm-eval."""

IN_PYTHON = "set it in Python: stability(read_outcomes(FOLDER), {}=...)"
JUDGE_FILE = "write it into a file, {}, and give that: --judge judge.yaml (docs/fidelity.md)"
MODEL_ARGS = "write it into --model-args, as in --model-args {}"
REMOVED: dict[str, dict[str, str]] = {
    "run": {
        "--enable-thinking": MODEL_ARGS.format("pretrained=...,enable_thinking=True"),
        "--no-thinking": MODEL_ARGS.format("pretrained=...,enable_thinking=False"),
        "--think-end-token": MODEL_ARGS.format("pretrained=...,think_end_token=..."),
        "--system-instruction": "write it into a study file, as system_instruction: ...",
        "--unsafe-no-sandbox": "it is a knob: --metadata '{\"unsafe_no_sandbox\": true}'",
        "--margin-persona": "use --margin persona=VALUE",
        "--margin-pss": "use --margin pss=VALUE",
        "--no-score": "a run with --shard isn't scored (persona-bench merge scores); others are",
        "--hf-hub-log-args": "write it into a study file, as hf_hub_log_args: {...}",
    },
    "gate": {
        "--margin-persona": "use --margin persona=VALUE",
        "--margin-pss": "use --margin pss=VALUE",
        "--margin-fidelity": "use --margin fidelity=VALUE",
    },
    "merge": {"--no-score": "results are scored as they are joined"},
    "score": {
        f"--{name}": IN_PYTHON.format(name.replace("-", "_"))
        for name in ("confidence", "population", "resamples", "seed", "stable-from", "stratify")
    },
    "compare": {
        f"--{name}": f"set it in Python: persona_bench.compare(a, b, {name}=...)"
        for name in ("confidence", "resamples", "seed")
    },
    "leaderboard": {
        "--json": "use --out FOLDER, which writes CSV",
        **{f"--{name}": IN_PYTHON.format(name) for name in ("confidence", "resamples", "seed")},
    },
    "judge": {
        "--api-key-variable": JUDGE_FILE.format("api_key_variable: NAME"),
        "--audited": JUDGE_FILE.format("audited: N"),
        "--examples-by": JUDGE_FILE.format("examples_by: MODEL"),
        "--form": JUDGE_FILE.format("form: json"),
        "--gen-kwargs": JUDGE_FILE.format("gen_kwargs: {...}"),
        "--no-examples": JUDGE_FILE.format("examples: false"),
        "--timeout": JUDGE_FILE.format("timeout: SECONDS"),
        "--no-score": "fidelity is scored at the end",
        "--seed": "the audit's draws have a fixed seed",
        "--store": "verdicts go to the run's own store",
        "--task": "give the samples file of one task instead of the folder",
    },
    "trace": {
        "--out": "files go to RESULTS/scores",
        "--task": "give the samples file of one task instead of the folder",
        "--batch-size": MODEL_ARGS.format("pretrained=...,batch_size=16"),
        "--device": MODEL_ARGS.format("pretrained=...,device=cuda:1"),
        "--embeddings": "set it in Python (docs/trace.md)",
        "--json": "read RESULTS/scores/<task>_trace.json",
        "--resamples": "set it in Python (docs/trace.md)",
        "--seed": "set it in Python (docs/trace.md)",
    },
    "plan": {
        "--samples": "1, 4 and 16 are shown; for others call forecast in Python (docs/planning.md)",
        "--seed": "call forecast and designs_for in Python (docs/planning.md)",
        **{
            f"--{name}-sd": f"use --sd {name}=VALUE"
            for name in ("question", "persona", "interaction", "seed")
        },
    },
    "screen": {
        "--batch-size": MODEL_ARGS.format("pretrained=...,batch_size=16"),
        "--confidence": "call screen_model in Python (docs/planning.md)",
        "--device": MODEL_ARGS.format("pretrained=...,device=cuda:1"),
        "--no-chat-template": "call screen_model in Python (docs/planning.md)",
        "--seed": "call screen_model in Python (docs/planning.md)",
    },
    "train": {
        "--teacher": "write it into the settings, as teacher: {model: ...}",
        "--use-vllm": "write it into the settings, as use_vllm: colocate",
    },
    "demo": {
        "--output-path": "it writes to demo-results/, in the folder where it is started",
        **dict.fromkeys(
            ("--batch-size", "--device", "--role-questions"), "use persona-bench run instead"
        ),
    },
    "show": dict.fromkeys(("--n", "--kinds", "--seed"), "use persona-bench personas sample"),
    "sample": {"--out": "the set is printed: persona-bench personas sample ... > mine.yaml"},
    "build": {"--out": "the set is printed: persona-bench personas build ... > mine.yaml"},
}
"""Options that a command no longer has, by command, with what to do instead."""


class Command(TyperCommand):
    """A subcommand that takes `--verbose` too, and explains options that it no longer has."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line of the subcommand."""
        if VERBOSE in args:
            ctx.meta[VERBOSE] = True
        known = {name for each in self.params for name in (*each.opts, *each.secondary_opts)}
        kept = []
        for argument in args:
            flag = argument.partition("=")[0].replace("_", "-")
            if flag == VERBOSE or (flag in ALWAYS_ON and flag not in known):
                continue
            if flag not in known and (instead := REMOVED.get(self.name or "", {}).get(flag)):
                ctx.fail(f"{flag} is no longer an option of {ctx.command_path}: {instead}")
            kept.append(argument)
        return super().parse_args(ctx, kept)


def is_verbose(context: typer.Context) -> bool:
    """Whether `--verbose` was given, before the subcommand or after it."""
    return bool(context.meta.get(VERBOSE))


def add(app: typer.Typer, function: Callable[..., Any], name: str | None = None) -> None:
    """Makes a function a subcommand.

    The last paragraph of its docstring is the example at the end of its help.
    """
    *paragraphs, example = (
        " ".join(text.split()) for text in (inspect.getdoc(function) or "").split("\n\n")
    )
    epilog = f"Example:\n\n{example.removeprefix('Example: ')}"
    app.command(name, cls=Command, help="\n\n".join(paragraphs), epilog=epilog)(function)
