"""What the tests of scoring share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def without_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """multipletests collects garbage in every call, which takes most of the time here."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)
