"""Persona Bench: does a persona in the system prompt change what a model can do?

    from persona_bench import read_outcomes, stability

    outcomes = read_outcomes("results/my-run")   # one tidy table, one row per response
    print(stability(outcomes).pss)

The package is imported at the start of every `lm_eval` run (see
`persona_bench_autoload.py`), so nothing heavy is imported until it is asked for. Its distribution
is called persona-stability-bench.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# The entry point for lm-eval's tasks names a package that holds them, persona_bench.tasks. In a
# wheel that is a folder inside this one; in a checkout the folder stands beside it.
if not os.path.isdir(os.path.join(__path__[0], "tasks")):
    __path__.append(os.path.dirname(__path__[0]))

__version__ = "0.1.0"

if TYPE_CHECKING:
    from persona_bench.extras.parts.contrasts import Contrasts, contrasts
    from persona_bench.extras.parts.variance import VarianceParts, variance_parts
    from persona_bench.personas import Persona, PersonaSet, load_persona_set
    from persona_bench.results.judged import read_judged
    from persona_bench.results.outcomes import read_outcomes
    from persona_bench.scoring.compare import Comparison, compare
    from persona_bench.scoring.fidelity import Fidelity, fidelity
    from persona_bench.scoring.fidelity_compare import FidelityComparison, compare_fidelity
    from persona_bench.scoring.gate import Gate, gate
    from persona_bench.scoring.methods import MethodComparison, compare_methods
    from persona_bench.scoring.sensitivity import GraderSensitivity, grader_sensitivity
    from persona_bench.scoring.stability import Stability, stability
    from persona_bench.scoring.wordings import PromptEffects, prompt_effects

__all__ = [
    "Comparison",
    "Contrasts",
    "Fidelity",
    "FidelityComparison",
    "Gate",
    "GraderSensitivity",
    "MethodComparison",
    "Persona",
    "PersonaSet",
    "PromptEffects",
    "Stability",
    "VarianceParts",
    "compare",
    "compare_fidelity",
    "compare_methods",
    "contrasts",
    "fidelity",
    "gate",
    "grader_sensitivity",
    "load_persona_set",
    "prompt_effects",
    "read_judged",
    "read_outcomes",
    "stability",
    "variance_parts",
]

_HOME = {
    "Persona": "persona_bench.personas",
    "PersonaSet": "persona_bench.personas",
    "load_persona_set": "persona_bench.personas",
    "Comparison": "persona_bench.scoring.compare",
    "compare": "persona_bench.scoring.compare",
    "read_outcomes": "persona_bench.results.outcomes",
    "Stability": "persona_bench.scoring.stability",
    "stability": "persona_bench.scoring.stability",
    "PromptEffects": "persona_bench.scoring.wordings",
    "prompt_effects": "persona_bench.scoring.wordings",
    "Fidelity": "persona_bench.scoring.fidelity",
    "fidelity": "persona_bench.scoring.fidelity",
    "FidelityComparison": "persona_bench.scoring.fidelity_compare",
    "compare_fidelity": "persona_bench.scoring.fidelity_compare",
    "Gate": "persona_bench.scoring.gate",
    "gate": "persona_bench.scoring.gate",
    "MethodComparison": "persona_bench.scoring.methods",
    "compare_methods": "persona_bench.scoring.methods",
    "read_judged": "persona_bench.results.judged",
    "Contrasts": "persona_bench.extras.parts.contrasts",
    "contrasts": "persona_bench.extras.parts.contrasts",
    "GraderSensitivity": "persona_bench.scoring.sensitivity",
    "grader_sensitivity": "persona_bench.scoring.sensitivity",
    "VarianceParts": "persona_bench.extras.parts.variance",
    "variance_parts": "persona_bench.extras.parts.variance",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'persona_bench' has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOME[name]), name)
    except (ImportError, AttributeError):
        import persona_bench_autoload

        persona_bench_autoload.check_package()  # says so where another project's files are there
        raise
