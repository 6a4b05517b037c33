"""lm-eval tasks of each kind that need no download, written into a folder."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

DIGITS = r"(-?[0-9]+)"
TASKS: dict[str, dict[str, Any]] = {
    "local_sums": {
        "description": "You will see sums.",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_target": "answer",
        "num_fewshot": 2,
        "fewshot_split": "train",
        "generation_kwargs": {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 16},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {
                "name": "strict",
                "filter": [
                    {"function": "regex", "regex_pattern": f"is {DIGITS}"},
                    {"function": "take_first"},
                ],
            },
            {
                "name": "flexible",
                "filter": [
                    {"function": "regex", "group_select": 0, "regex_pattern": DIGITS},
                    {"function": "take_first"},
                ],
            },
        ],
    },
    "local_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "num_fewshot": 2,
        "fewshot_split": "test",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "local_next": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}} The answer is",
        "doc_to_target": "{{' '+answer}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "local_inputs": {
        "output_type": "multiple_choice",
        "doc_to_text": "gold",
        "doc_to_choice": "{{['I add up ' + choices[0], 'I add up ' + choices[1], "
        "'I add up ' + choices[2], 'I add up ' + choices[3]]}}",
        "doc_to_target": "{{' which is the answer to ' + question}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "local_digits": {
        "doc_to_text": "!function functions.text",
        "doc_to_target": "answer",
        "process_results": "!function functions.digits",
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 12},
        "metric_list": [
            {"metric": "pair", "aggregation": "!function functions.joined"},
            {"metric": "length", "aggregation": "mean", "higher_is_better": False},
            {"metric": "digits", "aggregation": "mean", "higher_is_better": True},
            {"metric": "holds", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "local_votes": {
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "repeats": 3,
        "generation_kwargs": {
            "until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 8,
        },
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {
                "name": "majority",
                "filter": [
                    {"function": "regex", "regex_pattern": DIGITS},
                    {"function": "majority_vote"},
                    {"function": "take_first"},
                ],
            }
        ],
    },
    "local_shuffled": {
        "output_type": "multiple_choice",
        "process_docs": "!function functions.shuffled",
        "doc_to_text": "{{question}} {{choices}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
    },
    "local_shouting": {
        "filter_list": [
            {"name": "none", "filter": [
                {"function": "regex", "regex_pattern": DIGITS}, {"function": "take_first"}
            ]},
        ],
        "class": "!function functions.Shouting",
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
    "local_texts": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "question",
    },
    "local_f1": {
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [
            {"metric": "f1", "aggregation": "f1", "higher_is_better": True},
            {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
        ],
    },
    "local_programs": {
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "unsafe_code": True,
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
}  # fmt: skip
GROUPS: dict[str, Any] = {
    "local_group": {
        "group": "local_group",
        "task": ["local_choice", {"task": "local_sums", "num_fewshot": 1}],
        "aggregate_metric_list": [{"metric": "acc"}],
    }
}


def write_tasks(folder: Path, most: int = 60, questions: int = 6) -> Path:
    """Writes the tasks' YAML files, functions and documents; returns the folder.

    Args:
        folder: Where to.
        most: The largest number that is added.
        questions: How many documents there are to be asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("functions.py"), folder)
    for split, rows, seed in (("train", 12, 2), ("test", questions, 1)):
        lines = [json.dumps(row) + "\n" for row in sums(rows, seed, most)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "metadata": {"version": 3.0},
    }
    for name, settings in TASKS.items():
        text = yaml.safe_dump({"task": name, **shared, **settings}, sort_keys=False)
        # a string to PyYAML, a function to lm-eval
        text = re.sub(r"'(!function [\w.]+)'", r"\1", text)
        (folder / f"{name}.yaml").write_text(text)
    for name, settings in GROUPS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


def sums(count: int, seed: int, most: int = 60) -> list[dict[str, Any]]:
    """Documents of sums with four choices."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        a, b = rng.randint(2, most), rng.randint(2, most)
        choices = [a + b + off for off in rng.sample([-10, -3, -1, 1, 2, 10], 3)]
        gold = rng.randrange(4)
        choices.insert(gold, a + b)
        rows.append(
            {
                "question": f"What is {a} + {b}?",
                "answer": str(a + b),
                "choices": [str(choice) for choice in choices],
                "gold": gold,
                "level": "one" if a + b < 60 else "two",
            }
        )
    return rows
