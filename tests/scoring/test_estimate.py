"""A number with its interval, and results as data for JSON."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.estimate import UNKNOWN, Estimate, Interval, Result, plain


def test_an_estimate_is_its_number_and_has_an_interval() -> None:
    estimate = Estimate(np.float64(0.5), 0.25, 0.75)
    assert estimate == 0.5
    assert estimate < 0.6
    assert f"{estimate:.3f} {estimate}" == "0.500 0.5"
    assert estimate.interval == (estimate.low, estimate.high) == (0.25, 0.75)
    assert type(estimate.value) is type(estimate + 1) is float
    assert math.isnan(UNKNOWN)
    assert math.isnan(UNKNOWN.low)
    assert pd.Series([estimate, 1.0]).dtype == float
    with pytest.raises(AttributeError, match="can't be changed"):
        estimate.interval = Interval(0, 1)


def test_a_copied_estimate_keeps_its_interval() -> None:
    estimate = Estimate(0.5, 0.25, 0.75)
    for again in (copy.deepcopy(estimate), pickle.loads(pickle.dumps(estimate))):
        assert repr(again) == "Estimate(0.5, low=0.25, high=0.75)"


@dataclass(frozen=True)
class Some(Result):
    DEFINITIONS = {"score": "how good", "share": "of what", "ends": "of what"}  # noqa: RUF012

    score: Estimate
    share: float
    ends: Interval
    table: pd.DataFrame
    names: tuple[str, ...] = ()


def test_a_result_is_data_for_json() -> None:
    table = pd.DataFrame({"n": np.array([1, 2]), "x": [0.1 + 0.2, math.nan]})
    some = Some(Estimate(0.5, 0.25), np.float64(math.inf), Interval(0, 1), table, ("a",))
    record = some.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record == {
        "score": {"value": 0.5, "low": 0.25, "high": None, "definition": "how good"},
        "share": {"value": None, "definition": "of what"},
        "ends": {"low": 0, "high": 1, "definition": "of what"},
        "table": [{"n": 1, "x": 0.1 + 0.2}, {"n": 2, "x": None}],
        "names": ["a"],
    }


def test_the_name_of_an_index_is_a_column() -> None:
    table = pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="part"))
    assert plain(table) == [{"part": "a", "x": 1}]
    assert plain(pd.DataFrame({"x": pd.array([None, 1], dtype="Int64")})) == [{"x": None}, {"x": 1}]
