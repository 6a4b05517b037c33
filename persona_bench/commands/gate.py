"""`persona-bench gate`: may a new checkpoint replace the old one? An exit code for CI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from xml.etree import ElementTree

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.scoring.gate import Criterion, Gate


def gate(
    base: Annotated[
        Path,
        typer.Argument(
            help="The old checkpoint: a run's folder, or a .csv with one row per "
            "response (persona, question, correct)."
        ),
    ],
    new: Annotated[Path, typer.Argument(help="The new checkpoint, likewise.")],
    margin: Annotated[
        float, typer.Option(help="Largest acceptable loss of mean accuracy, as a share.")
    ] = 0.02,
    margin_persona: Annotated[
        float | None,
        typer.Option(help="The same under every single persona; --margin by default."),
    ] = None,
    margin_pss: Annotated[
        float, typer.Option(help="Largest acceptable loss of the corrected PSS.")
    ] = 0.05,
    margin_fidelity: Annotated[
        float, typer.Option(help="Largest acceptable loss of fidelity, in points of 1 to 5.")
    ] = 0.2,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML here, with a test case per criterion.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Test that NEW is no worse than BASE: exit code 0 pass, 1 fail, 3 can't tell.

    For example in CI: persona-bench gate results/base results/new --margin 0.02 --junit gate.xml
    """
    from persona_bench.scoring.gate import EXIT_CODES, combined

    try:
        found = _gates(base, new, margin, margin_persona, margin_pss, margin_fidelity)
    except (ValueError, FileNotFoundError) as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None  # 1 is the verdict "fail"
    verdict = combined([result.verdict for result in found.values()])
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_text(_junit(found), encoding="utf-8")
    if as_json:
        tasks = {task: result.to_dict() for task, result in found.items()}
        about = {"verdict": verdict, "base": str(base), "new": str(new)}
        print(json.dumps({**about, "tasks": tasks}, indent=2))
    else:
        print_gates(found, verdict)
    raise typer.Exit(EXIT_CODES[verdict])


def _gates(
    base: Path,
    new: Path,
    margin: float,
    margin_persona: float | None,
    margin_pss: float,
    margin_fidelity: float,
) -> dict[str, Gate]:
    """The result of each task that both have; fidelity joins its task, or stands alone."""
    from persona_bench.report.fidelity import judges_in_words
    from persona_bench.scoring.compare import CompareError
    from persona_bench.scoring.gate import Gate, fidelity_criterion
    from persona_bench.scoring.gate import gate as test_gate

    graded, judged, voices = read_tables(base)
    graded_new, judged_new, voices_new = read_tables(new)
    found: dict[str, Gate] = {}
    for task in graded:
        if task in graded_new:
            found[task] = test_gate(
                graded[task],
                graded_new[task],
                margin=margin,
                margin_persona=margin_persona,
                margin_pss=margin_pss,
            )
            if task in voices and task in voices_new:
                old, changed = (graded[task], voices[task]), (graded_new[task], voices_new[task])
                found[task] = _with_voice(found[task], old, changed, margin)
    for task in judged:
        if task in judged_new:
            criterion = fidelity_criterion(judged[task], judged_new[task], margin=margin_fidelity)
            table = judged[task]
            note = f"judged by {judges_in_words(table)}"
            n_questions, n_personas = table["question"].nunique(), table["persona"].nunique()
            found[task] = Gate((criterion,), n_questions, n_personas, 1, 0.05, (note,))
    if not found:
        names = [", ".join([*g, *j]) or "none" for g, j in
                 ((graded, judged), (graded_new, judged_new))]  # fmt: skip
        raise CompareError(f"no task in common: {base} has {names[0]}, {new} has {names[1]}")
    return found


def _with_voice(
    result: Gate,
    old: tuple[pd.DataFrame, pd.DataFrame],
    new: tuple[pd.DataFrame, pd.DataFrame],
    margin: float,
) -> Gate:
    """A gate with the criterion of in-character accuracy, on the questions that both have.

    `old` and `new` hold outcomes and what judges said of their voice.
    """
    from persona_bench.report.fidelity import judges_in_words
    from persona_bench.report.runs import scored_voice
    from persona_bench.scoring.gate import voice_criterion

    both = set(old[0]["question"]) & set(new[0]["question"])
    a, b = (scored_voice(table[table["question"].isin(both)], said) for table, said in (old, new))
    if a is None or b is None:
        return result
    criteria = (*result.criteria, voice_criterion(a, b, margin=margin))
    note = f"voice judged by {judges_in_words(a.judges)}"
    return replace(result, criteria=criteria, notes=(*result.notes, note))


class Tables(NamedTuple):
    """The tables of one checkpoint, by task: outcomes, judges' verdicts, and judges' on voice."""

    graded: dict[str, pd.DataFrame]
    judged: dict[str, pd.DataFrame]
    voices: dict[str, pd.DataFrame]


def read_tables(path: Path) -> Tables:
    """The tables of one checkpoint; a .csv is one graded task."""
    if path.suffix.lower() == ".csv":
        import pandas as pd

        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        table = pd.read_csv(path, dtype={"persona": str, "question": str})
        table = table.drop(columns=["model", "task"], errors="ignore")
        return Tables({"outcomes": table}, {}, {})
    from persona_bench.report.runs import read_runs

    runs = read_runs([path])
    if len(runs) > 1:
        raise ValueError(f"{path} holds {len(runs)} models: give the folder of one of them")
    graded = {task: each.outcomes for task, each in runs[0].graded.items()}
    judged = {
        task: each.verdicts for task, each in runs[0].judged.items() if each.verdicts is not None
    }
    voices = {task: said for task, each in runs[0].graded.items() if len(said := each.voice)}
    return Tables(graded, judged, voices)


# ---------------------------------------------------------------------- printed and written


def print_gates(found: Mapping[str, Gate], verdict: str) -> None:
    """The verdict, and a line for each criterion of each task."""
    console = Console()
    console.print(Text(verdict.upper(), style="bold"))
    for task, result in found.items():
        size = f"{result.n_questions} questions × {result.n_personas} personas"
        console.print(Text(f"{task}: {size}"))
        for criterion in result.criteria:
            console.print(Text(f"  {_line(criterion)}"), soft_wrap=True)
        for note in result.notes:
            console.print(Text(f"  Note: {note}."), soft_wrap=True)


def _line(criterion: Criterion) -> str:
    numbers = (
        f"{criterion.difference:+.3f} [{criterion.low:+.3f}, {criterion.high:+.3f}], margin "
        f"{criterion.margin:g}"
    )
    detail = f" ({criterion.detail})" if criterion.detail else ""
    return f"{criterion.verdict:<10}  {criterion.name}: {numbers}{detail}"


def _junit(found: dict[str, Gate]) -> str:
    """A test suite per task; a criterion that can't be decided is an error, not a failure."""
    suites = ElementTree.Element("testsuites", name="persona-bench gate")
    for task, result in found.items():
        verdicts = [criterion.verdict for criterion in result.criteria]
        attributes = {
            "tests": str(len(verdicts)),
            "failures": str(verdicts.count("fail")),
            "errors": str(verdicts.count("can't tell")),
        }
        suite = ElementTree.SubElement(suites, "testsuite", {"name": task, **attributes})
        for criterion in result.criteria:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"persona_bench.gate.{task}", name=criterion.name
            )
            kind = {"fail": "failure", "can't tell": "error"}.get(criterion.verdict)
            if kind:
                ElementTree.SubElement(case, kind, type=criterion.verdict, message=_line(criterion))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
