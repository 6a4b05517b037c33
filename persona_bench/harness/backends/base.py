"""What all backends share: asking lm-eval's model, and listening while it answers."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lm_eval.api.model import LM

from persona_bench.harness.backends.request import Generated, Request

Finished = Callable[[Request, Generated], None]


class BackendError(RuntimeError):
    """A backend that can't be run with the store; one sentence says what to do."""


def is_one_of(kind: type, module: str, name: str) -> bool:
    """Whether a class is one of lm-eval's, or derived from it, without loading torch to find out.

    Args:
        kind: The class.
        module: A module of `lm_eval.models`, which is loaded if `kind` comes from it.
        name: A class of that module.
    """
    theirs = getattr(sys.modules.get(f"lm_eval.models.{module}"), name, None)
    return theirs is not None and issubclass(kind, theirs)


class Backend:
    """Any model of lm-eval's: asked once for everything that is missing.

    Attributes:
        tells_finish: Whether it says how a response ended.
    """

    tells_finish = False

    def __init__(self, lm: LM, finished: Finished) -> None:
        self.lm: Any = lm
        self.engine_outputs: deque[Generated] = deque()
        self._finished = finished
        self._done: set[str] = set()
        self.lm.set_cache_hook(self)

    def generate(self, requests: Sequence[Request], missing: set[str]) -> None:
        """Asks what is missing and reports each response as it comes.

        Args:
            requests: All of the run, in order.
            missing: The keys of those to ask.
        """
        self.ask([request for request in requests if request.key in missing])

    def ask(self, requests: Sequence[Request], **kwargs: Any) -> None:
        """Asks these requests, all of one method, in one call of lm-eval's."""
        if not requests:
            return
        self._done.clear()
        asked = getattr(self.lm, requests[0].method)
        responses = asked([self.tagged(each) for each in requests], **kwargs)
        for request, response in zip(requests, responses, strict=True):
            if request.key not in self._done:  # a backend that does not call the hook
                self.finish(request, self._received(request, response))

    def tagged(self, request: Request) -> Any:
        """lm-eval's request for one of ours."""
        return request.tagged()

    def add_partial(self, method: str, arguments: Iterable[Any], response: Any) -> None:
        """lm-eval's cache hook: a response is there."""
        request = getattr(next(iter(arguments)), "request", None)
        if request is None or method != request.method:
            return
        generated = self._received(request, response)
        if method == "generate_until" and self.engine_outputs:
            generated = self.completed(self.engine_outputs.popleft(), generated.response)
        if request.key not in self._done:
            self.finish(request, generated)

    def _received(self, request: Request, response: Any) -> Generated:
        """What lm-eval gives, without what the engine said of it."""
        if request.continuation is None:
            return Generated(str(response))
        return Generated("", likelihood=(float(response[0]), bool(response[1])))

    def completed(self, engine_output: Generated, response: str) -> Generated:
        """What the engine said of a response, with the text that lm-eval made of it."""
        end = getattr(self.lm, "think_end_token", None)
        unfinished = end is not None and engine_output.reasoning and not engine_output.response
        return Generated(
            response="" if unfinished else response,
            finish=engine_output.finish,
            reasoning=engine_output.reasoning,
            tokens=engine_output.tokens,
        )

    def finish(self, request: Request, generated: Generated) -> None:
        """Reports a response."""
        self._done.add(request.key)
        self._finished(request, generated)
