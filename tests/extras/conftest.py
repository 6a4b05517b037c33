"""Fixtures that tests of the extras share with those of the report."""

from tests.report.conftest import made_up as made_up
