"""Tables as the page's script reads them: a list a column, numbers beside how they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import pandas as pd

LARGEST = 1.7976931348623157e308
"""What an infinite number is sorted as: JSON has none."""


def encode_table(table: pd.DataFrame, formats: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A table as JSON can hold it.

    Returns:
        `rows`, their number, and `columns`: a list of dictionaries with `name`, and with either
        `texts`, or `numbers` and `shown`. What is not available is None.

    Raises:
        ValueError: a format that is none for numbers; the message names the column.
    """
    formats = formats or {}
    columns = [
        _column(str(name), table.iloc[:, place].tolist(), formats.get(str(name), ""))
        for place, name in enumerate(table.columns)
    ]
    return {"rows": len(table), "columns": columns}


def _column(name: str, values: list[Any], spec: str) -> dict[str, Any]:
    values = [None if _missing(value) else value for value in values]
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, Real) and not isinstance(v, bool) for v in known):
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
