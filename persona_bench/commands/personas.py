"""`persona-bench personas`: list, show, draw, build and check persona sets."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from persona_bench.commands import options
from persona_bench.persona_building import build_persona_set, dump_persona_set
from persona_bench.personas import KINDS, PersonaSet, bundled_sets, load_persona_set

CHOSEN = "Personas"
app = typer.Typer(no_args_is_help=True, help="List, show, draw, build and check persona sets.")
out = Console()

Name = Annotated[str, typer.Argument(help="A bundled set, or a .yaml file.")]


def personas_list() -> None:
    """The bundled sets, with how many personas of each kind they have.

    Example: persona-bench personas list
    """
    table = Table(title="Persona sets", title_justify="left")
    table.add_column("set", style="bold")
    table.add_column("personas", justify="right")
    table.add_column("kinds")
    for name, path in bundled_sets().items():
        chosen = load_persona_set(path)
        table.add_row(name, str(len(chosen)), _kind_counts(chosen))
    out.print(table)


def personas_show(name: Name) -> None:
    """The personas of a set, with all wordings of their prompts; the last is the default.

    Example: persona-bench personas show core
    """
    chosen = load_persona_set(name)
    table = Table(
        title=f"{escape(chosen.name)} (version {escape(chosen.version)}, {len(chosen)} personas)",
        caption=escape(chosen.description),
        title_justify="left",
        caption_justify="left",
        show_lines=True,
    )
    table.add_column("persona", style="bold", no_wrap=True)
    table.add_column("kind")
    table.add_column("prompt")
    for persona in chosen:
        level = f" {persona.level}" if persona.level else ""
        texts = [f"{number}. {text}" for number, text in enumerate(persona.prompts, start=1)]
        prompt = escape("\n".join(texts) or persona.prompt) or "[dim](no system message)[/]"
        table.add_row(persona.id, persona.kind + level, prompt)
    out.print(table)


def personas_sample(
    name: Name,
    n: Annotated[
        int | None,
        typer.Option(
            help="This many, balanced over kinds; all by default.", rich_help_panel=CHOSEN
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(metavar="KIND,...", help="Only these kinds.", rich_help_panel=CHOSEN),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random draw.", rich_help_panel=CHOSEN)] = 0,
) -> None:
    """Draw a subset, balanced over kinds, as a set of one's own.

    Example: persona-bench personas sample wide --n 32 --seed 1
    """
    _write_set(load_persona_set(name).choose(n, kinds.split(",") if kinds else None, seed))


def personas_build(
    name: Annotated[str, typer.Argument(help="The name of the new set.")],
    values: Annotated[list[str], typer.Argument(help="What goes into the template.")],
    kind: Annotated[str, typer.Option(help="The kind of these personas.", rich_help_panel=CHOSEN)],
    template: Annotated[str, typer.Option(help="Such as 'You are a {}.'", rich_help_panel=CHOSEN)],
) -> None:
    """Make a set from one template and a list, as the published studies do.

    Example: persona-bench personas build jobs --kind layperson
    --template 'You are a {}.' baker farmer
    """
    _write_set(build_persona_set(name, kind, template, values))


def _write_set(chosen: PersonaSet) -> None:
    """Prints a set as YAML, and beside it how many personas it has."""
    print(dump_persona_set(chosen), end="")
    Console(stderr=True).print(f"{len(chosen)} personas, {_kind_counts(chosen)}")


def personas_check(
    names: Annotated[list[str], typer.Argument(help="Bundled sets or .yaml files.")],
) -> None:
    """Check sets of one's own; an error names the first fault, with file, line and remedy.

    Example: persona-bench personas check mine.yaml
    """
    for name in names:
        chosen = load_persona_set(name)
        out.print(f"{escape(name)}: {len(chosen)} personas, {_kind_counts(chosen)}", soft_wrap=True)


def _kind_counts(chosen: PersonaSet) -> str:
    counts = {kind: sum(p.kind == kind for p in chosen) for kind in KINDS}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


for subcommand, command in (
    ("list", personas_list),
    ("show", personas_show),
    ("sample", personas_sample),
    ("build", personas_build),
    ("check", personas_check),
):
    options.add(app, command, subcommand)
