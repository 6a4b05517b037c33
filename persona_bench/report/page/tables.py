"""Tables as the page's script reads them: numbers stand beside how they are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import pandas as pd

LARGEST = 1.7976931348623157e308
"""What an infinite number is sorted as: JSON has none."""


def encode_table(
    table: pd.DataFrame,
    formats: Mapping[str, str] | None = None,
    intervals: Mapping[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:
    """A table as JSON can hold it.

    Args:
        table: Numbers, texts, NaN and None.
        formats: Format specifications of numbers, by column.
        intervals: The columns of the low and high end of a column's interval.

    Returns:
        `rows`, their number, and `columns`: a list of dictionaries with `name`, and with either
        `texts`, or `numbers` and `shown`; where the column has an interval also `ends`, the names
        and values of its two ends. What is not available is None.

    Raises:
        ValueError: a format that is none for numbers; the message names the column.
    """
    formats, intervals = formats or {}, intervals or {}
    ends = {name for pair in intervals.values() for name in pair}
    columns = []
    for place, name in enumerate(map(str, table.columns)):
        if name in ends:
            continue
        column = _column(name, table.iloc[:, place].tolist(), formats.get(name, ""))
        if name in intervals and "numbers" in column:
            low, high = (
                _column(end, table[end].tolist(), formats.get(name, "")) for end in intervals[name]
            )
            column["ends"] = {low["name"]: _numbers(low), high["name"]: _numbers(high)}
            both = zip(column["shown"], _shown(low), _shown(high), strict=True)
            column["shown"] = [
                value if value is None or a is None or b is None else f"{value} [{a}, {b}]"
                for value, a, b in both
            ]
        columns.append(column)
    return {"rows": len(table), "columns": columns}


def _numbers(column: Mapping[str, Any]) -> list[Any]:
    return list(column.get("numbers") or column["texts"])


def _shown(column: Mapping[str, Any]) -> list[Any]:
    return list(column.get("shown") or column["texts"])


def _column(name: str, values: list[Any], spec: str) -> dict[str, Any]:
    values = [None if _missing(value) else value for value in values]
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, Real) and not isinstance(v, bool) for v in known):
        if not spec and all(float(value).is_integer() for value in known):
            spec = ",.0f"
        try:
            shown = [None if value is None else _written(value, spec) for value in values]
        except (ValueError, TypeError) as error:
            raise ValueError(f"the format {spec!r} of the column {name!r}: {error}") from None
        return {"name": name, "numbers": [_finite(value) for value in values], "shown": shown}
    return {"name": name, "texts": [None if v is None else _text(v) for v in values]}


def _missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NaT
        or value is pd.NA
        or (isinstance(value, float) and math.isnan(value))
    )


def _written(value: Any, spec: str) -> str:
    if spec:
        return format(value, spec)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return math.copysign(LARGEST, number) if math.isinf(number) else number


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
