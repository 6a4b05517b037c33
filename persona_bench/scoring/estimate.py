"""A number with its interval, and results as data for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd


class Interval(NamedTuple):
    """Two ends, in the unit of the number they stand beside."""

    low: float
    high: float


NOWHERE = Interval(math.nan, math.nan)


class Estimate(float):
    """A number that knows the interval around it, at the `confidence` of the result it is part of.

    It is its value wherever a number is wanted: `result.pss < 0.9`, `f"{result.pss:.3f}"`.

    Attributes:
        value: The number alone.
        interval: Its two ends, NaN where it has no interval; `low` and `high` are each of them.
    """

    interval: Interval

    def __new__(cls, value: float, low: float = math.nan, high: float = math.nan) -> Estimate:
        estimate = super().__new__(cls, value)
        object.__setattr__(estimate, "interval", Interval(float(low), float(high)))
        return estimate

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an Estimate can't be changed")

    def __reduce__(self) -> tuple[type[Estimate], tuple[float, float, float]]:
        return Estimate, (self.value, *self.interval)

    def __repr__(self) -> str:
        return f"Estimate({self.value!r}, low={self.low!r}, high={self.high!r})"

    def __str__(self) -> str:
        return str(self.value)

    @property
    def value(self) -> float:
        return float(self)

    @property
    def low(self) -> float:
        return self.interval.low

    @property
    def high(self) -> float:
        return self.interval.high


UNKNOWN = Estimate(math.nan)


class Result:
    """Base of the dataclasses that measures return."""

    DEFINITIONS: ClassVar[Mapping[str, str]] = {}
    """What a field is, in one line; `to_dict` puts it beside the field."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `plain`).

        One with a definition is `{"value", "low", "high", "definition"}`: `low` and `high` where it
        has an interval, no `value` where it is nothing else.
        """
        record: dict[str, Any] = plain(self)
        for name, definition in self.DEFINITIONS.items():
            if name in record:
                value = record[name] if isinstance(record[name], dict) else {"value": record[name]}
                record[name] = {**value, "definition": definition}
        return record


def plain(value: Any) -> Any:
    """A value as JSON has it.

    NaN and infinities become None, an estimate `{"value", "low", "high"}`, a named tuple or a
    dataclass a dictionary, a table a list of records (with its index where that has a name).
    """
    if isinstance(value, Estimate):
        return plain({"value": value.value, **value.interval._asdict()})
    if isinstance(value, pd.DataFrame):
        named = value.index.name is not None
        return plain((value.reset_index() if named else value).to_dict("records"))
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
