"""Trying a request again: how long to wait, and when to give up."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

from persona_bench.harness.backends.answers import AnswerError, without_keys

REFUSED = (401, 404)  # the same for every request, where none was answered before
# the same for this request, however often it is sent; 403 is also what some moderators say
HOPELESS = (400, 401, 403, 404, 405, 413, 415, 422)
LATER = (429, 503)  # too many requests, or not up yet
PATIENCE = 20  # times that an endpoint may say so to one request
LONGEST_WAIT = 120.0  # seconds
IN_A_ROW = 20  # requests failed for good, and none answered between them: nothing gets through


class Trial:
    """The tries of one request."""

    def __init__(self, tries: int) -> None:
        self.tries, self.used, self.put_off = tries, 0, 0

    def wait(self, status: int | None, error: Exception) -> float | None:
        """Seconds to wait before the next try; None where there are none left.

        Asked to come back later, a request waits as long as it is told and has not used up a
        try; otherwise the time doubles from try to try.
        """
        if status in LATER and self.put_off < PATIENCE:
            self.put_off += 1
            asked = _retry_after(error)
            seconds = 2.0 ** min(self.put_off - 1, 6) if asked is None else asked
            return min(seconds, LONGEST_WAIT) * random.uniform(1.0, 1.1)
        self.used += 1
        if self.used >= self.tries:
            return None
        return float(min(2.0 ** (self.used - 1), LONGEST_WAIT)) * random.uniform(0.5, 1.0)


def status_of(error: Exception) -> int | None:
    status = getattr(error, "status", None)  # aiohttp
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)  # requests
    return status if isinstance(status, int) else None


def _retry_after(error: Exception) -> float | None:
    headers = getattr(error, "headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    asked = (headers or {}).get("Retry-After") or ""
    with suppress(ValueError):
        return max(float(asked), 0.0)
    with suppress(ValueError):  # a date
        return max(parsedate_to_datetime(asked).timestamp() - time.time(), 0.0)
    return None


def in_words(error: Exception) -> str:
    """What went wrong, in a few words: the provider's own where it has any."""
    if isinstance(error, AnswerError):
        return str(error)[:200]
    status = status_of(error)
    if status is not None:  # aiohttp's, or that of requests
        said = getattr(error, "message", "") or getattr(getattr(error, "response", 0), "reason", "")
        return without_keys(f"HTTP {status} {said}".strip())[:200]
    lines = str(error).strip().splitlines()
    return without_keys(f"{type(error).__name__} {lines[0] if lines else ''}".strip())[:200]
