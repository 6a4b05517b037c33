"""Trying requests again: how long to wait, and when to give up a request or an endpoint."""

from __future__ import annotations

import random

from persona_bench.harness.backends.answers import AnswerError

REFUSED = (401, 404)  # the same for every request, where none was answered before
# the same for this request, however often it is sent; 403 is also what some moderators say
HOPELESS = (400, 401, 403, 404, 405, 413, 415, 422)
LATER = (429, 503)  # too many requests, or not up yet
NO_CREDIT = 402  # DeepSeek, OpenRouter
NO_CREDIT_CODE = "insufficient_quota"  # OpenAI's, with status 429
PATIENCE = 20  # times that an endpoint may say "later" to one request
LONGEST_WAIT = 120.0  # seconds
IN_A_ROW = 20  # requests failed for good, and none answered between them: nothing gets through


class Trial:
    """The tries of one request."""

    def __init__(self, tries: int) -> None:
        self.tries, self.used, self.put_off = tries, 0, 0

    def wait(self, error: Exception) -> float | None:
        """Seconds to wait before the next try; None where there is none.

        Asked to come back later, a request waits as long as it is told and has not used up a
        try; otherwise the time doubles from try to try.
        """
        status = status_of(error)
        if status in HOPELESS:
            return None
        if status in LATER and self.put_off < PATIENCE:
            self.put_off += 1
            asked = getattr(error, "wait", None)
            seconds = 2.0 ** min(self.put_off - 1, 6) if asked is None else float(asked)
            return min(seconds, LONGEST_WAIT) * random.uniform(1.0, 1.1)
        self.used += 1
        if self.used >= self.tries:
            return None
        return float(min(2.0 ** (self.used - 1), LONGEST_WAIT)) * random.uniform(0.5, 1.0)


class Health:
    """Whether an endpoint still answers.

    Args:
        limit: Requests in a row that may fail for good.

    Attributes:
        answered: Requests that were answered.
        failures: Requests in a row that failed for good.
    """

    def __init__(self, limit: int = IN_A_ROW) -> None:
        self.limit, self.answered, self.failures = limit, 0, 0

    def got_through(self) -> None:
        """A request was answered."""
        self.failures = 0
        self.answered += 1

    def refuses_all(self, error: Exception) -> bool:
        """Whether the error is one of the key or the address."""
        return status_of(error) in REFUSED and not self.answered

    def is_dead(self, error: Exception) -> bool:
        """Counts a request that failed for good; whether there is no point in going on."""
        if status_of(error) in HOPELESS and self.answered:
            return False  # this request's own fault
        self.failures += 1
        return self.failures >= self.limit


def out_of_credit(error: Exception) -> bool:
    """Whether the account behind the key is empty: waiting is in vain."""
    code = getattr(error, "code", "")
    return status_of(error) == NO_CREDIT or (status_of(error) == 429 and code == NO_CREDIT_CODE)


def status_of(error: Exception) -> int | None:
    """The HTTP status of an error; None where it has none."""
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def in_words(error: Exception) -> str:
    """What went wrong: the server's own words where there are any."""
    if isinstance(error, AnswerError):
        return str(error)
    return f"{type(error).__name__} {error}".strip()
