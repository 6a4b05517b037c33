"""`persona-bench wrap`: YAML files of lm-eval's tasks with personas, for lm_eval itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from persona_bench.commands import options


def wrap(
    tasks: Annotated[
        list[str], typer.Argument(help="Tasks, groups or tags, as lm-eval calls them.")
    ],
    out_folder: Annotated[
        Path,
        typer.Option("--out", help="Where the YAML files go.", rich_help_panel=options.RESULTS),
    ],
    include_path: options.IncludePath = None,
) -> None:
    """Write lm-eval tasks with personas around them, for the lm_eval command.

    `persona-bench run --tasks gsm8k` needs no such files.

    Example: persona-bench wrap gsm8k mmlu_pro --out my_tasks
    """
    from persona_bench.harness.run import quiet
    from persona_bench.harness.task_index import PREFIX, write_wrapped

    quiet()
    folders = [str(each.resolve()) for each in include_path or ()]
    files = write_wrapped(tasks, out_folder, folders)
    out = Console()
    names = ",".join(PREFIX + task for task in tasks)
    out.print(f"Files written to {out_folder}: {len(files)}. Run them with", soft_wrap=True)
    out.print(
        f"lm_eval --include_path {out_folder} --tasks {names} --apply_chat_template "
        '--metadata \'{"persona_set": "core"}\' ...',
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
