"""The model card of a trained checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

METHODS = {
    "sft": "supervised fine-tuning: cross-entropy on reference solutions",
    "distill": "sequence distillation: cross-entropy on a teacher's sampled responses",
    "rlvr": "RLVR: GRPO on verifiable rewards, without personas",
    "permix": "PerMix-RLVR (arXiv 2604.08986): GRPO on verifiable rewards under mixed personas",
}


def model_card(run: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        run: `settings`, `versions`, `steps`, `questions`, `sources`, and where there are any
            `personas` and other facts.
    """
    settings = run["settings"]
    data = settings["data"]
    front = {
        "base_model": settings["model"],
        "library_name": "transformers",
        "tags": ["persona-bench", "trl", settings["method"]],
    }
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).strip(),
        "---",
        "",
        f"# {settings['model'].rstrip('/').rpartition('/')[2]}, {settings['method']}",
        "",
        f"{METHODS[settings['method']]}. {run['steps']} steps from `{settings['model']}`, "
        f"seed {settings['seed']}, by Persona Bench.",
        "",
        f"- **Data:** {run['questions']} questions"
        + (f" of levels {', '.join(data['levels'])}" if data.get("levels") else "")
        + ": "
        + "; ".join(_source(each) for each in run["sources"]),
    ]
    if "personas" in run:
        personas = settings["personas"]
        lines.append(
            f"- **Personas:** set `{personas['persona_set']}` ({len(run['personas'])} personas), "
            f"mix_ratio {personas['mix_ratio']}, a {personas['group']} a group"
        )
    else:
        lines.append("- **Personas:** none")
    if "teacher" in run:
        lines.append(f"- **Teacher:** {run['teacher']}")
    lines += [
        "- **Versions:** " + ", ".join(f"{k} {v}" for k, v in run["versions"].items()),
        "- **Logs:** `log.csv`, `personas.csv`; all of TRL's arguments: `trainer.json`",
        "",
        "The settings, `train.yaml`:",
        "",
        "```yaml",
        yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True).strip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _source(source: Mapping[str, Any]) -> str:
    """A source, its commit, and how many prompts were from it."""
    commit = f" at {source['commit'][:12]}" if "commit" in source else ""
    counts = f"{source['questions']} questions, {source['prompts']} prompts"
    return f"`{source['source']}`{commit} ({counts})"
