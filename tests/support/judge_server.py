"""A small OpenAI-compatible server for judges: answers as told, with every fault there is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass
class Reply:
    """What is sent.

    Attributes:
        content: The message's text.
        finish: Its finish reason.
        refusal: The message's refusal.
        status, headers: Of the answer.
        raw: A body of any kind instead.
        cut: The connection is reset in the middle of the body.
        delay: Seconds before the answer.
    """

    content: str | None = ""
    finish: str = "stop"
    refusal: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    cut: bool = False
    delay: float = 0.0


Answering = Callable[[dict[str, Any], int], Reply]


def verdict(score: Any, justification: str = "It reads so.") -> str:
    """A verdict in the form that is asked for."""
    return json.dumps({"justification": justification, "score": score})


class JudgeServer:
    """Serves chat completions in a thread of its own; use as a context manager.

    Args:
        answer: From a request's body and its number, from 0, to the reply.
        models: What the list of models says.

    Attributes:
        url: As `--base-url`.
        requests: Every chat request's body, in order.
        headers: Every chat request's headers.
        busiest: Most requests waiting for an answer at the same time.
    """

    def __init__(self, answer: Answering, models: tuple[str, ...] = ("judge",)) -> None:
        self.answer, self.models = answer, models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.busiest = self._now = 0
        self.url = ""

    def __enter__(self) -> JudgeServer:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not reader.at_eof():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ", 2)
                given = (line.split(":", 1) for line in head[1:] if ":" in line)
                headers = {name.strip().lower(): value.strip() for name, value in given}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if method == "GET" and path.endswith("/models"):
                    data = [{"id": name, "object": "model"} for name in self.models]
                    reply = Reply(raw=json.dumps({"object": "list", "data": data}).encode())
                else:
                    asked = json.loads(body)
                    self.requests.append(asked)
                    self.headers.append(headers)
                    reply = self.answer(asked, len(self.requests) - 1)
                self._now += 1
                self.busiest = max(self.busiest, self._now)
                await asyncio.sleep(reply.delay)
                self._now -= 1
                if await self._send(writer, reply):
                    return

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        """Sends a reply; whether the connection is gone after it."""
        body = reply.raw if reply.raw is not None else _completion(reply)
        lines = [f"HTTP/1.1 {reply.status} Status", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if reply.cut:
            writer.write(body[: len(body) // 2])
            await writer.drain()
            writer.transport.abort()
            return True
        writer.write(body)
        await writer.drain()
        return False


def _completion(reply: Reply) -> bytes:
    if reply.status != 200:
        return json.dumps({"error": {"message": f"status {reply.status}"}}).encode()
    message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    words = len((reply.content or "").split())
    return json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "judge-2026",
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": words,
                "total_tokens": 100 + words,
            },
        }
    ).encode()
