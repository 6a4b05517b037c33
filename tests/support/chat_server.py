"""A small OpenAI-compatible chat server that answers arithmetic right at known rates."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Sent = tuple[int, dict[str, str]] | dict[str, Any] | bytes | None
Fault = Callable[[dict[str, Any], int], Sent]

WORDINGS = (
    "The answer is {answer}.",
    "Let me see... \\boxed{{{answer}}}",
    "Arr, for $3 the treasure be $\\boxed{{{answer}}}$, matey, or me name's not 7-toes!",
    "I count 2 ways to do it.\n\n**Final answer:** {answer}",
)


class ChatServer:
    """Counts what it answers, so that a score can be held against the truth.

    Args:
        rates: Rate of right answers by system message; the empty string is no system message.
        answers: Right answer by user message.
        fault: From a request's body and its number to what is sent instead of an answer: a
            status with headers, an answer of another kind, or bytes as they are. None: as usual.
        delay: Seconds that each answer takes.

    Attributes:
        tally: (right, asked) by system message.
        requests: Every request's JSON body.
        busiest: How many requests were waiting for an answer at the same time, at most.
    """

    def __init__(
        self,
        rates: Mapping[str, float],
        answers: Mapping[str, str],
        fault: Fault | None = None,
        delay: float = 0.0,
    ) -> None:
        self.rates, self.answers, self.fault, self.delay = rates, answers, fault, delay
        self.tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.requests: list[dict[str, Any]] = []
        self.busiest = self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append(body)
                    outer._now += 1
                    outer.busiest = max(outer.busiest, outer._now)
                time.sleep(outer.delay)
                with outer._lock:
                    outer._now -= 1
                answer = outer.fault(body, number) if outer.fault else None
                status, headers = (200, {})
                if isinstance(answer, tuple):
                    status, headers = answer
                    answer = {"error": {"message": f"status {status}"}}
                if isinstance(answer, bytes):
                    payload = answer
                else:
                    payload = json.dumps(answer or outer.reply(body)).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/chat/completions"

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        by_role = {message["role"]: message["content"] for message in body["messages"]}
        system, user = by_role.get("system", ""), by_role["user"]
        draw = hashlib.sha256(f"{system}|{user}|{body.get('seed')}".encode()).digest()
        right = draw[0] / 256 < self.rates[system]
        answer = int(self.answers[user]) + (0 if right else 1 + draw[1] % 3)
        with self._lock:
            self.tally[system][0] += right
            self.tally[system][1] += 1
        content = WORDINGS[draw[2] % len(WORDINGS)].format(answer=answer)
        message = {"role": "assistant", "content": content}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
