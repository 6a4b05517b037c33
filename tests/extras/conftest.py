"""Fixtures of other rooms' tests that the extras' tests use too."""

from __future__ import annotations

from tests.report.conftest import made_up
from tests.scoring.conftest import without_collection

__all__ = ["made_up", "without_collection"]
