"""Figures and pages of trainings, from the logs of `persona-bench train`."""
