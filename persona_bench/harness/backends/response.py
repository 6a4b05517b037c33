"""A response with what the backend said of it, which lm-eval has no place for."""

from __future__ import annotations

from typing import Any

# how a response ended: the model's own end or a stop sequence, the limit of tokens, the
# provider's filter, or a request that failed for good
FINISHES = ("stop", "length", "content_filter", "error")


class Response(str):
    """The text that is graded, as lm-eval passes it about.

    Attributes:
        finish: One of `FINISHES`; empty where the backend does not tell.
        error: Why there is no response, where `finish` is `error`.
        tokens: How many tokens were generated; None where the backend does not tell.
    """

    finish: str
    error: str
    tokens: int | None

    def __new__(
        cls, text: str, finish: str = "", error: str = "", tokens: int | None = None
    ) -> Response:
        response = super().__new__(cls, text)
        response.finish, response.error, response.tokens = finish, error, tokens
        return response

    def __reduce__(self) -> tuple[Any, ...]:  # ranks send responses to each other
        return Response, (str(self), self.finish, self.error, self.tokens)
