"""Judging stored responses: asking judges, keeping their verdicts, and measuring the judges."""
