"""Whether programs can be isolated on this machine."""

from __future__ import annotations

import pytest

from persona_bench.grading.sandbox import NoSandbox, isolation

try:
    isolation()
    REASON = ""
except NoSandbox as error:
    REASON = str(error)

needs_sandbox = pytest.mark.skipif(bool(REASON), reason=REASON or "a sandbox works here")
