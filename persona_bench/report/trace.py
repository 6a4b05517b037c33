"""Sentences about a stored trace: what `persona-bench trace` wrote, for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from persona_bench.report.tables import format_p, interval, number

MEANING = (
    "These tell whether personas leave a trace in the responses, not whether the trace is good: a "
    "model that plays every role badly, each in its own way, leaves one too."
)
WITHOUT_MODEL = (
    "Persona information needs the model that gave the responses: add --model hf --model-args "
    "pretrained=... (with the arguments of the run)."
)


def trace_sentences(record: Mapping[str, Any]) -> list[str]:
    """A sentence for each measure, of what `trace_record` gave."""
    found, information = record["identifiability"], record["persona_information"]
    told = {name: _number(found[name]) for name in ("accuracy", "chance", "p_value")}
    lines = [
        f"Identifiability: {found['conclusion']} ({number(told['accuracy'])} where chance is "
        f"{number(told['chance'])}; {format_p(told['p_value'])})."
    ]
    if not information:
        return [*lines, WITHOUT_MODEL]
    where = "above" if information["conclusion"] == "trace" else "not above"
    band = (_number(information["no_trace"]["low"]), _number(information["no_trace"]["high"]))
    return [
        *lines,
        f"Persona information: {information['conclusion']} "
        f"({number(_number(information['information']))} nats a token, {where} the no-trace band "
        f"{interval(band)}; {format_p(_number(information['p_value']))}).",
    ]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
