"""Judging: what a judge is shown of a response, and what is read of its answer."""

EVAL_TASKS = (
    "Expected Action",
    "Action Justification",
    "Linguistic Habits",
    "Persona Consistency",
    "Toxicity",
)
"""PersonaGym's five evaluation tasks (Samuel et al. 2024, arXiv 2407.18416)."""

SCORES = (1, 2, 3, 4, 5)

__all__ = ["EVAL_TASKS", "SCORES"]
