"""The samples files of persona tasks in an lm-eval output folder, and what is told of each."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_DECODE = json.JSONDecoder().raw_decode
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d{2}-\d{2}T[\d\-.]+)\.jsonl")


class OutcomesError(ValueError):
    """An output folder without usable outcomes; the message says what is missing."""


class NoSamplesError(OutcomesError):
    """An output folder without samples of a persona task."""


@dataclass(frozen=True)
class Samples:
    """One samples file: the responses of one model to one task.

    Attributes:
        file: `samples_<task>_<date>.jsonl`.
        task: The task's name.
        date: As in the file's name; empty where it has none.
    """

    file: Path
    task: str
    date: str

    @cached_property
    def results(self) -> dict[str, Any]:
        """What lm-eval wrote about the run; empty where it did not."""
        found: list[dict[str, Any]] = []
        for file in sorted(self.file.parent.glob(f"*{self.date}.json")) if self.date else ():
            try:
                found.append(dict(json.loads(file.read_text(encoding="utf-8"))))
            except (OSError, ValueError):
                continue
        own = [each for each in found if self.task in (each.get("configs") or {})]
        return (own or found or [{}])[0]

    @property
    def config(self) -> dict[str, Any]:
        """The task's configuration at the run; empty where it is not known."""
        return dict((self.results.get("configs") or {}).get(self.task) or {})

    @property
    def told(self) -> dict[str, Any]:
        """What the task recorded of itself: personas, grader, versions, ..."""
        return dict((self.config.get("metadata") or {}).get("persona_bench") or {})

    @property
    def generation(self) -> dict[str, Any]:
        """How responses were generated, under one name for each setting; empty where unknown.

        Temperature 0 and greedy decoding are the same, and so are the names of the length.
        """
        given = self.config.get("generation_kwargs")
        if given is None:
            return {}
        found = {key: value for key, value in given.items() if value not in (None, [], {}, "")}
        for name in ("max_new_tokens", "max_tokens", "max_completion_tokens"):
            if name in found:
                found["max_gen_toks"] = found.pop(name)
        sampled = bool(found.pop("do_sample", False))
        temperature = float(found.pop("temperature", 0.0 if not sampled else 1.0))
        found["temperature"] = temperature if sampled else 0.0
        if not sampled:
            for name in ("top_p", "top_k", "min_p", "seed"):
                found.pop(name, None)
        model_args = (self.results.get("config") or {}).get("model_args")
        if isinstance(model_args, dict) and model_args.get("enable_thinking") is not None:
            found["enable_thinking"] = model_args["enable_thinking"]
        if "samples" in self.told:
            found["samples"] = self.told["samples"]
        return found

    @property
    def model(self) -> str:
        """The model's name from the results file, else from the folder."""
        return str(self.results.get("model_name") or self.file.parent.name)

    @cached_property
    def first(self) -> dict[str, Any]:
        """The first document; empty where there is none."""
        with self.file.open(encoding="utf-8") as lines:
            line = lines.readline()
        try:
            return dict(json.loads(line)["doc"])
        except (ValueError, KeyError, TypeError):
            return {}

    @property
    def judged(self) -> bool:
        """Whether the task's responses are judged by a model (`persona-bench judge`)."""
        return bool(self.told.get("judged", False))

    @property
    def sparse(self) -> bool:
        """Whether questions lack personas on purpose; false for files from before designs."""
        return bool(self.first.get("sparse", False))


def sample_values(line: str, names: tuple[str, ...]) -> dict[str, Any]:
    """These values of a line of a samples file, whose keys stand in this order.

    lm-eval repeats the verdict for each metric. Decoding only what is asked for takes a third of
    the time. A quote inside a text is escaped, so that `"name": ` can only be a key; a line with
    another order or other spaces is decoded whole.
    """
    found: dict[str, Any] = {}
    end = 0
    if not line.rstrip().endswith("}"):  # cut off
        return dict(json.loads(line))
    for name in names:
        key = f'"{name}": '
        start = line.find(key, end)
        if start < 0:
            return dict(json.loads(line))
        found[name], end = _DECODE(line, start + len(key))
    return found


def find_samples(path: Path) -> list[Samples]:
    """All samples files of persona tasks in a folder and below it, or the one file.

    Raises:
        OutcomesError: no such folder or file.
    """
    if path.is_file():
        match = _SAMPLES.fullmatch(path.name)
        return [Samples(path, *(match.group("task", "date") if match else (path.stem, "")))]
    if not path.is_dir():
        raise OutcomesError(f"{path}: no such folder or file; give lm-eval's --output_path")
    found = []
    for file in sorted(path.rglob("samples_*.jsonl")):
        match = _SAMPLES.fullmatch(file.name)
        if match:
            samples = Samples(file, match["task"], match["date"])
            if "persona" in samples.first:
                found.append(samples)
    return found


def newest_samples(path: Path, *, judged: bool | None = None) -> list[Samples]:
    """The newest samples file of each model and task; warns of the ones left out.

    Args:
        path: An output folder, or one samples file.
        judged: Only tasks that a model judges, or only others; None: both.

    Raises:
        NoSamplesError: none there.
        OutcomesError: the parts of a run that is shared by several machines
            and not joined yet.
    """
    runs: dict[tuple[str, str], list[Samples]] = {}
    for samples in find_samples(path):
        runs.setdefault((samples.model, samples.task), []).append(samples)
    if not runs and any(path.glob("store/generations/*/*.jsonl")):
        raise NoSamplesError(
            f"{path}: responses are stored there, but no run's results: start the same run again, "
            "which asks only for what is missing"
        )
    if not runs:
        raise NoSamplesError(
            f"{path}: no samples of a persona task; run lm_eval with --log_samples and "
            "--output_path, and give that folder"
        )
    return [
        _newest(model, task, files)
        for (model, task), files in runs.items()
        if judged is None or files[-1].judged == judged
    ]


def _newest(model: str, task: str, files: list[Samples]) -> Samples:
    newest = max(files, key=lambda each: (each.date, str(each.file)))
    if part := newest.told.get("shard"):
        shards = sorted({str(shard) for each in files if (shard := each.told.get("shard"))})
        if len(shards) > 1:
            raise OutcomesError(
                f"{task} on {model}: the shards {', '.join(shards)} are separate results: join "
                "them with persona-bench merge, and give the joined folder"
            )
        warnings.warn(
            f"{task} on {model}: this is shard {part}, a part of the questions", stacklevel=4
        )
    else:  # shards beside a whole run are its parts
        files = [each for each in files if not each.told.get("shard")]
    graded_again = {each.told.get("regraded_from") for each in files}
    others = [each for each in files if each.file.name not in graded_again]
    if len(others) > 1:
        warnings.warn(
            f"{len(others)} runs of {task} on {model}: the newest counts ({newest.file}); give "
            "one run's folder or file to score another",
            stacklevel=4,
        )
    return newest


def early_facts(told: Mapping[str, Any]) -> str:
    """The column `early` of a run: JSON for `early_of`, empty where the run is whole.

    `told` is what the run's task recorded of itself.
    """
    if part := told.get("unfinished"):
        return json.dumps({"stored": part["stored"], "asked": part["asked"]})
    plan = told.get("until")
    if not plan or plan["looks"] == [plan["questions"]]:
        return ""  # looked at once, at its end
    return json.dumps({"looks": plan["looks"], "questions": plan["questions"]})


def progress(plan: Mapping[str, Any]) -> str:
    """One line on how far a run with a plan came: the record `until` of its results file."""
    looks, asked = plan["looks"], plan["questions"]
    where = (
        f"look {len(looks)} of at most {len(plan['planned'])}, after {looks[-1]:,} of {asked:,} "
        "questions"
    )
    if not plan.get("over"):
        return f"Not decided yet: {where}; start the run again to go on"
    if not plan["decision"]:
        return f"Not decided at the cap: {where}"
    saved = 1 - plan["responses"] / plan["responses_of_all"]
    return (
        f"Stopped early ({plan['decision']}): {where}; {plan['responses']:,} of "
        f"{plan['responses_of_all']:,} responses asked, {saved:.0%} saved"
    )
