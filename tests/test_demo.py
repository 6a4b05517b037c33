"""What the demo shows before and while its model is asked."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from persona_bench.commands.demo import show_counts, show_stored


def test_the_stored_run_is_shown_in_thirty_lines_of_eighty_columns() -> None:
    out = io.StringIO()
    show_stored(Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("UNDETERMINED  accuracy 0.12 (school-leaver +1) to 0.22 (exper")
    assert "truncated" not in out.getvalue()  # no persona loses by its length


def test_the_first_answers_are_counted_by_persona() -> None:
    rows = [("none", 1.0), ("none", 0.0), ("pirate", 1.0), ("pirate", 1.0)]
    out = io.StringIO()
    show_counts(pd.DataFrame(rows, columns=["persona", "correct"]), Console(file=out, width=80))
    title, none, pirate = out.getvalue().rstrip().splitlines()
    assert title.endswith("right of 2 questions")
    assert none.split()[:2] == ["none", "1"]
    assert pirate.split()[:2] == ["pirate", "2"]
