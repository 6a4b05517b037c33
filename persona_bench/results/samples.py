"""The two files that lm-eval writes for a persona task: its samples and the run's results."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from persona_bench.results.schema import TaskFacts, Until

_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d{2}-\d{2}T[\d\-.]+)\.jsonl")
_DECODE = json.JSONDecoder().raw_decode


class OutcomesError(ValueError):
    """An output folder without usable outcomes; the message says what is missing."""


class NoSamplesError(OutcomesError):
    """An output folder without samples of a persona task."""


@dataclass(frozen=True)
class Samples:
    """One samples file, the responses of one model to one task, and the results file beside it.

    Attributes:
        file: `samples_<task>_<date>.jsonl`.
        task: The task's name.
        date: The date in the file's name; empty where it has none.
    """

    file: Path
    task: str
    date: str

    @property
    def results_file(self) -> Path | None:
        """What lm-eval wrote about the run: `results_<date>.json`; None where it is gone."""
        return self._results[0]

    @property
    def results(self) -> dict[str, Any]:
        """The contents of the results file; empty where it is gone."""
        return self._results[1]

    @cached_property
    def _results(self) -> tuple[Path | None, dict[str, Any]]:
        found: list[tuple[Path | None, dict[str, Any]]] = []
        for file in sorted(self.file.parent.glob(f"*{self.date}.json")) if self.date else ():
            try:
                found.append((file, dict(json.loads(file.read_text(encoding="utf-8")))))
            except (OSError, ValueError):
                continue
        own = [each for each in found if self.task in (each[1].get("configs") or {})]
        return (own or found or [(None, {})])[0]

    @property
    def config(self) -> dict[str, Any]:
        """The task's configuration at the run; empty where it is not known."""
        return dict((self.results.get("configs") or {}).get(self.task) or {})

    @property
    def facts(self) -> TaskFacts:
        """What the task recorded of its run; empty where it is not known."""
        return cast(TaskFacts, dict((self.config.get("metadata") or {}).get("persona_bench") or {}))

    @property
    def generation(self) -> dict[str, Any]:
        """How responses were generated, under one name for each setting; empty where unknown.

        Temperature 0 and greedy decoding are the same, and so are the names of the length.
        """
        given = self.config.get("generation_kwargs")
        if given is None:
            return {}
        settings = {key: value for key, value in given.items() if value not in (None, [], {}, "")}
        for name in ("max_new_tokens", "max_tokens", "max_completion_tokens"):
            if name in settings:
                settings["max_gen_toks"] = settings.pop(name)
        sampled = bool(settings.pop("do_sample", False))
        temperature = float(settings.pop("temperature", 0.0 if not sampled else 1.0))
        settings["temperature"] = temperature if sampled else 0.0
        if not sampled:
            for name in ("top_p", "top_k", "min_p", "seed"):
                settings.pop(name, None)
        model_args = (self.results.get("config") or {}).get("model_args")
        if isinstance(model_args, dict) and model_args.get("enable_thinking") is not None:
            settings["enable_thinking"] = model_args["enable_thinking"]
        for name in ("samples", "turns", "scripts", "turn_tokens"):
            if name in self.facts:
                settings[name] = self.facts[name]  # type: ignore[literal-required]
        return settings

    @property
    def provenance(self) -> dict[str, Any]:
        """How the task was run, for the files of a score; what is unknown is absent.

        The samples file, the task's facts, arguments of the generation and the model, date, and
        versions of lm-eval and transformers.
        """
        results = self.results
        run = {
            "samples_file": self.file.name,
            "task": self.facts or None,
            "generation_kwargs": self.config.get("generation_kwargs"),
            "model_args": results.get("config", {}).get("model_args"),
            "lm_eval_version": results.get("lm_eval_version"),
            "transformers_version": results.get("transformers_version"),
            "date": results.get("date"),
        }
        return {key: value for key, value in run.items() if value is not None}

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
        """Whether a model judges the task's responses (`persona-bench judge`)."""
        return bool(self.facts.get("judged", False))

    @property
    def sparse(self) -> bool:
        """Whether questions lack personas on purpose; false for files from before designs."""
        return bool(self.first.get("sparse", False))

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of the file as lm-eval wrote them.

        Line by line: text within a line may hold characters at which `str.splitlines` would split.
        """
        with self.file.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)


def decode_keys(line: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The values of these keys of a line of a samples file, given in the order of the line.

    lm-eval repeats the verdict for each metric. Decoding only what is asked for takes a third of
    the time. A quote inside a text is escaped, so that `"name": ` can only be a key; a line with
    another order or other spaces is decoded whole.
    """
    values: dict[str, Any] = {}
    end = 0
    if not line.rstrip().endswith("}"):  # cut off
        return dict(json.loads(line))
    for key in keys:
        start = line.find(f'"{key}": ', end)
        if start < 0:
            return dict(json.loads(line))
        values[key], end = _DECODE(line, start + len(key) + 4)
    return values


def response_of(record: Mapping[str, Any]) -> Any:
    """The response of a record, out of lm-eval's nested lists; None where there is none."""
    response = record["resps"][0]
    while isinstance(response, list):
        response = response[0] if response else None
    return response


def find_samples(path: Path) -> list[Samples]:
    """All samples files of persona tasks in a folder and below it, or the one file.

    Raises:
        OutcomesError: no such folder or file.
    """
    if path.is_file():
        match = _SAMPLES.fullmatch(path.name)
        return [Samples(path, *(match.group("task", "date") if match else (path.stem, "")))]
    if not path.is_dir():
        raise OutcomesError(f"{path}: no such folder or file; give a run's folder, a table or logs")
    return [samples for samples in every_samples_file(path) if "persona" in samples.first]


def every_samples_file(path: Path) -> list[Samples]:
    """All samples files that lm-eval wrote in a folder and below it, or the one file."""
    files = [path] if path.is_file() else sorted(path.rglob("samples_*.jsonl"))
    matches = ((file, _SAMPLES.fullmatch(file.name)) for file in files)
    return [Samples(file, match["task"], match["date"]) for file, match in matches if match]


def newest_samples(path: Path, *, judged: bool | None = None) -> list[Samples]:
    """The newest samples file of each model and task; warns where there are older ones.

    Args:
        path: An output folder, or one samples file.
        judged: Only tasks that a model judges, or only others; None: both.

    Raises:
        NoSamplesError: none there.
        OutcomesError: shards of one run that are not joined yet.
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
            f"{path}: no samples of a persona task, and no results of another program "
            "(docs/your-results.md): run lm_eval with --log_samples and --output_path, and give "
            "that folder; name tables (.csv, .parquet, .jsonl) one by one"
        )
    return [
        _newest(model, task, files)
        for (model, task), files in runs.items()
        if judged is None or files[-1].judged == judged
    ]


def _newest(model: str, task: str, files: list[Samples]) -> Samples:
    newest = max(files, key=lambda each: (each.date, str(each.file)))
    if part := newest.facts.get("shard"):
        shards = sorted({str(shard) for each in files if (shard := each.facts.get("shard"))})
        if len(shards) > 1:
            raise OutcomesError(
                f"{task} on {model}: the shards {', '.join(shards)} are separate results: join "
                "them with persona-bench merge, and give the joined folder"
            )
        warnings.warn(
            f"{task} on {model}: this is shard {part}, a part of the questions", stacklevel=4
        )
    else:  # shards beside a whole run are its parts
        files = [each for each in files if not each.facts.get("shard")]
    graded_again = {each.facts.get("regraded_from") for each in files}
    others = [each for each in files if each.file.name not in graded_again]
    if len(others) > 1:
        warnings.warn(
            f"{len(others)} runs of {task} on {model}: the newest counts ({newest.file}); give "
            "one run's folder or file to score another",
            stacklevel=4,
        )
    return newest


def early_facts(facts: TaskFacts) -> str:
    """The column `early` of a run: JSON for `sequential.early_of`, empty for a whole run."""
    if part := facts.get("unfinished"):
        return json.dumps({"stored": part["stored"], "asked": part["asked"]})
    plan = facts.get("until")
    if not plan or plan["looks"] == [plan["questions"]]:
        return ""  # looked at once, at its end
    return json.dumps({"looks": plan["looks"], "questions": plan["questions"]})


def progress(plan: Until) -> str:
    """One line on how far a run with `--until` came."""
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


def write_samples(
    folder: Path,
    task: str,
    date: str,
    records: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    figures: Mapping[str, float],
) -> Path:
    """Writes a task's samples as lm-eval does, with a results file of their own.

    Args:
        folder: Where to.
        task: The task's name.
        date: The date as lm-eval writes it in file names.
        records: The lines of the samples file.
        results: lm-eval's results, of which the task's own parts are replaced.
        config: The task's configuration.
        facts: What the task records of its run.
        figures: The rows of lm-eval's results table, by name.

    Returns:
        The samples file.
    """
    rows = {"alias": task, **{f"{name},none": value for name, value in figures.items()}}
    whole = {
        **results,
        "configs": {task: {**config, "metadata": {**config["metadata"], "persona_bench": facts}}},
        "results": {task: rows},
        "n-samples": {task: {"original": len(records), "effective": len(records)}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"samples_{task}_{date}.jsonl"
    with file.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in records)
    # lm-eval writes the results of all tasks of a run in one file; here each task has its own
    (folder / f"results_{task}_{date}.json").write_text(
        json.dumps(whole, indent=2, ensure_ascii=False), encoding="utf-8"
    )
    return file
