"""Parameters that an endpoint refuses are dropped or renamed, once for all of its requests.

Newer OpenAI models take `max_completion_tokens` for `max_tokens` and no other temperature than
their own; some servers know no `seed`, others no `stop`. The error says so, with status 400 or 422.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from persona_bench.harness.backends.answers import AnswerError

log = logging.getLogger("persona_bench")

DROPPED = "dropped"
OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
ADAPTABLE = (*OTHER_NAMES, "stop", "seed", "temperature", "top_p")
STATUSES = (400, 422)
_NOT_KNOWN = re.compile(
    r"un(?:supported|known|recognized|recognised|expected)|not\s+(?:be\s+)?(?:supported|permitted|"
    r"allowed|recognized|valid|accepted)|n[o']t support|cannot find|extra[_ ](?:inputs|forbidden)|"
    r"deprecated|instead|only the default",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(r"context|too (?:large|long|many)|at most|less than|exceed|between", re.I)


class Parameters:
    """What an endpoint does not take, as its errors said.

    Args:
        where: The endpoint's address, for messages.

    Attributes:
        adapted: By parameter: `dropped`, or the name that it is sent under.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.adapted: dict[str, str] = {}

    def apply(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A request as this endpoint takes it."""
        names = {name: self.adapted.get(name, name) for name in payload}
        return {names[name]: value for name, value in payload.items() if names[name] != DROPPED}

    def learn(self, error: Exception, sent: Mapping[str, Any]) -> bool:
        """Whether the error is about a parameter that the next try does without.

        Args:
            error: What the request met with.
            sent: The request, as it was sent.
        """
        if not isinstance(error, AnswerError) or error.status not in STATUSES:
            return False
        name = _refused(error, sent)
        if name is None:
            return False
        if name not in self.adapted:  # else another request has learned it meanwhile
            other_name = OTHER_NAMES.get(name, DROPPED)
            if other_name in self.adapted:
                return False  # neither name is taken
            self.adapted[name] = other_name
            how = "leaves it out" if other_name == DROPPED else f"sends it as {other_name}"
            log.warning(
                "%s does not take the parameter %s: this run %s, and its results record that",
                self.where, name, how,
            )  # fmt: skip
        return True


def _refused(error: AnswerError, sent: Mapping[str, Any]) -> str | None:
    """The parameter of a request that an error says the endpoint does not take."""
    words = str(error)
    for name in sorted(ADAPTABLE, key=lambda name: name != error.parameter):
        if name not in sent or (name != error.parameter and not _names(words, name)):
            continue
        if name in ("stop", "seed") or (name == "temperature" and not sent[name]):
            return name  # whatever it has against them
        if name == "top_p" and not sent[name] and not sent.get("temperature"):
            return name  # vLLM takes no top_p of 0; greedy decoding doesn't need it
        if _NOT_KNOWN.search(f"{error.code} {words}") and not _TOO_MUCH.search(words):
            return name
    return None


def _names(words: str, name: str) -> bool:
    """Whether words name a parameter: in quotes, before a colon, or as an argument."""
    quoted = rf"[\"'`‘“]{name}[\"'`’”]"
    called = rf"(?:parameter|argument|field|property|option|input|key)s?\b\W*(?:\w+\W+)?{name}\b"
    colon = rf"(?:^|[.:;]\s*){name}(?::|\s+(?:parameter|is not|does not|must))"
    return re.search(f"{quoted}|{called}|{colon}", words, re.IGNORECASE) is not None
