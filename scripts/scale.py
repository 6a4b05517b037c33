"""What a full study costs: prompts, tokens and GPU-hours, calculated and not measured.

    python -m scripts.scale                                   # the tables of docs/scale.md
    python -m scripts.scale --personas 148 --samples 16       # of a study of one's own
    python -m scripts.scale --response-tokens math500=1200    # with a length seen in a pilot

The study is the one of PerMix-RLVR (arXiv 2604.08986): models of five sizes as five checkpoints
each, on MATH500, AIME24, LiveCodeBench and PersonaGym. Prompt tokens were counted, response tokens
are assumed, throughput is a roofline (`scripts/roofline.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, NamedTuple

from scripts.roofline import (
    GPUS,
    JUDGES,
    MODELS,
    Engine,
    Lengths,
    Model,
    Work,
    batch_size,
    known,
    rate,
    times,
)

CHECKPOINTS = ("instruct", "SFT", "distilled", "RLVR", "PerMix")
SLOW_HOST_MS = 20.0
V6 = 1055 - 17  # problems of LiveCodeBench's release v6 without its errata


class Prompts(NamedTuple):
    """Counts of a task's prompts, means over prompts.

    Attributes:
        questions: How many questions there are.
        tokens: Tokens of a prompt.
        fresh: Of them, those that the prefix cache does not have.
        again: The same of a further sample of a prompt that was just computed.
    """

    questions: int
    tokens: float
    fresh: float
    again: float


# counted on the benchmarks' questions, rendered by this project's tasks under the set `core` with
# the tokenizer and template of SmolLM2-135M-Instruct; vLLM's cache holds blocks of 16 tokens
MEASURED = {
    "math500": Prompts(500, 150.0, 106.4, 8.5),
    "aime24": Prompts(30, 195.8, 155.2, 8.7),
    "livecodebench": Prompts(390, 697.0, 616.4, 8.5),
    "personagym": Prompts(10_000, 81.9, 39.6, 8.7),
    "judge": Prompts(10_000, 577.5, 84.7, 8.4),
    "examples": Prompts(10_000, 744.3, 624.1, 8.5),
}
TITLES = {
    "math500": "MATH500",
    "aime24": "AIME24",
    "livecodebench": "LiveCodeBench",
    "personagym": "PersonaGym",
}
DIRECT = {
    "math500": Lengths(800, 2048),
    "aime24": Lengths(3000, 32768),
    "livecodebench": Lengths(800, 4096),
    "personagym": Lengths(250, 3000),
}
THINKING = {
    "math500": Lengths(5000, 32768),
    "aime24": Lengths(15000, 32768),
    "livecodebench": Lengths(12000, 32768),
    "personagym": Lengths(800, 32768),
}


@dataclass(frozen=True)
class Study:
    """What is asked, and how long the responses are taken to be."""

    personas: int = known(16, "personas of the set, on all tasks but PersonaGym")
    livecodebench: int = known(390, "problems of LiveCodeBench; release v1 without its errata")
    samples: int = known(4, "responses per prompt on AIME24")
    judge_tokens: int = known(200, "tokens of a judge's response, of at most 1,024")
    example_tokens: int = known(500, "tokens of the five score examples of a question")
    start_s: float = known(120.0, "seconds to load a model, compile and capture CUDA graphs")
    direct: Mapping[str, Lengths] = field(default_factory=lambda: DIRECT)
    thinking: Mapping[str, Lengths] = field(default_factory=lambda: THINKING)
    engine: Engine = field(default_factory=Engine)


Runs = Sequence[tuple[Model, bool]]  # models, and whether they think; five checkpoints each


# --------------------------------------------------------------------------- work
def task_work(study: Study, thinks: bool = False) -> list[Work]:
    """The work of one checkpoint, a task each."""
    out = []
    for name, length in (study.thinking if thinks else study.direct).items():
        measured = MEASURED[name]
        questions = study.livecodebench if name == "livecodebench" else measured.questions
        # each question of PersonaGym has its persona
        personas = 1 if name == "personagym" else study.personas
        samples = study.samples if name == "aime24" else 1
        fresh = (measured.fresh + (samples - 1) * measured.again) / samples
        responses = questions * personas * samples
        out.append(Work(name, responses, measured.tokens, fresh, length))
    return out


class Judging(NamedTuple):
    """What one judge does, and how many hours that takes times its GPUs."""

    name: str
    model: Model
    work: Work
    hours: float


def judging(study: Study) -> list[Judging]:
    """Both judges on all checkpoints, a call a response; and the score examples, five to a
    question in one call, written once by the first of them.
    """
    measured, written = MEASURED["judge"], MEASURED["examples"]
    filled = study.example_tokens + study.direct["personagym"].mean
    work = Work(
        "judge",
        measured.questions * len(MODELS) * len(CHECKPOINTS),
        measured.tokens + filled,
        measured.fresh + filled,
        Lengths(study.judge_tokens, 1024),
    )
    length = Lengths(study.example_tokens, 2048)
    examples = Work("examples", written.questions, written.tokens, written.fresh, length)
    todo = [(judge.name, judge, work) for judge in JUDGES]
    return [
        Judging(name, judge, job, job_seconds(judge, [job], study) * judge.gpus / 3600)
        for name, judge, job in [*todo, ("score examples", JUDGES[0], examples)]
    ]


def job_seconds(model: Model, works: Sequence[Work], study: Study) -> float:
    """One job: a model is loaded, and its tasks are asked together."""
    return study.start_s + times(model, works, study.engine).total


def hours(runs: Runs, study: Study) -> float:
    """Hours on one GPU, a checkpoint after the other, loading and draining included."""
    seconds = sum(job_seconds(model, task_work(study, thinks), study) for model, thinks in runs)
    return len(CHECKPOINTS) * seconds / 3600


# --------------------------------------------------------------------------- rows
THINK = "Qwen-3 thinking"
DIRECTLY: Runs = [(model, False) for model in MODELS]
THINKERS: Runs = [(model, True) for model in MODELS if model.thinks]
MIXED: Runs = [(model, model.thinks) for model in MODELS]


def millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M"


def token_cells(works: Sequence[Work], times_each: int = 1) -> list[str]:
    """Prompts, prompt tokens and response tokens."""
    return [
        f"{times_each * sum(w.responses for w in works):,}",
        millions(times_each * sum(w.responses * w.prompt for w in works)),
        millions(times_each * sum(w.responses * w.length.mean for w in works)),
    ]


def run_row(name: str, runs: Runs, study: Study) -> list[str]:
    """Tokens and GPU-hours of all checkpoints of these models."""
    works = [work for model, thinks in runs for work in task_work(study, thinks)]
    return [name, *token_cells(works, len(CHECKPOINTS)), f"{hours(runs, study):,.1f}"]


def summary_rows(study: Study) -> Iterable[list[str]]:
    """The study in three lines."""
    for name, runs in (("answering directly", DIRECTLY), (f"with {THINK}", MIXED)):
        yield run_row(f"{len(runs)} x {len(CHECKPOINTS)} checkpoints, {name}", runs, study)
    judges = judging(study)
    yield [
        f"two judges for PersonaGym, {JUDGES[0].gpus} GPUs each",
        *token_cells([judge.work for judge in judges]),
        f"{sum(judge.hours for judge in judges):,.1f}",
    ]


def model_rows(study: Study) -> Iterable[list[str]]:
    """GPU-hours of each model, and how it does each task, without endings."""
    engine = study.engine
    for model, thinks in [*DIRECTLY, *THINKERS]:
        cells = [
            model.name + (", thinking" if thinks else ""),
            run_row("", [(model, thinks)], study)[-1],
        ]
        for work in task_work(study, thinks):
            alone = times(model, [work], engine)
            of_task = len(CHECKPOINTS) * (alone.prefill + alone.decode) / 3600
            batch = batch_size(model, work, engine)
            cells.append(f"{batch} / {rate(model, work, engine):,.0f} / {of_task:.1f}")
        yield [*cells, f"{model.kv_bytes(4000) / 1e9:.2f}"]


def longer(study: Study, factor: float) -> Study:
    """The study with responses so many times as long, up to their limits."""

    def scaled(lengths: Mapping[str, Lengths]) -> dict[str, Lengths]:
        return {
            task: length._replace(mean=min(round(length.mean * factor), length.limit))
            for task, length in lengths.items()
        }

    return replace(study, direct=scaled(study.direct), thinking=scaled(study.thinking))


def variants(study: Study) -> dict[str, Study]:
    """One assumption changed at a time."""
    engine = study.engine

    def other(**changes: Any) -> Study:
        return replace(study, engine=replace(engine, **changes))

    halves = {name: getattr(engine, name) / 2 for name in ("bandwidth_use", "flops_use")}
    return {
        "as assumed": study,
        "responses half as long": longer(study, 0.5),
        "responses twice as long, up to the limit": longer(study, 2),
        "every response at its limit": longer(study, 1e3),
        "half the bandwidth and half the peak": other(**halves),
        "no time lost between steps": other(host_ms=0.0),
        f"{SLOW_HOST_MS:.0f} ms lost at each step": other(host_ms=SLOW_HOST_MS),
        "1,024 sequences at a time": other(max_seqs=1024),
        "64 sequences at a time": other(max_seqs=64),
        f"LiveCodeBench's release v6, {V6:,} problems": replace(study, livecodebench=V6),
        "H200": other(gpu="h200"),
    }


def variant_rows(study: Study) -> Iterable[list[str]]:
    for name, other in variants(study).items():
        judges = sum(judge.hours for judge in judging(other))
        used = (hours(DIRECTLY, other), hours(MIXED, other), judges)
        yield [name, *(f"{value:,.0f}" for value in used)]


# --------------------------------------------------------------------------- the command
def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A Markdown table; all columns but the first `left` to the right."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * left + "---:|" * (len(head) - left))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_all(study: Study) -> None:
    """The tables, as Markdown."""
    print("Calculated, not measured.\n")
    tokens = ("prompts", "prompt tokens", "response tokens")
    used = f"GPU-hours, {GPUS[study.engine.gpu].name}"
    table(("calculated", *tokens, used), summary_rows(study))
    head = ("five checkpoints of", "GPU-hours", *TITLES.values(), "GB of 4,000 tokens")
    table(head, model_rows(study))
    table(("GPU-hours with", "all five", THINK, "judges"), variant_rows(study))


def lengths_read(text: str, usual: Mapping[str, Lengths]) -> dict[str, Lengths]:
    """`math500=1200,aime24=4000` over the usual ones; a limit below is raised.

    Raises:
        argparse.ArgumentTypeError: another task, or no number.
    """
    out = dict(usual)
    for part in text.split(","):
        task, _, tokens = part.partition("=")
        if task not in usual or not tokens.isdigit() or int(tokens) < 1:
            raise argparse.ArgumentTypeError(
                f"{part!r} must be TASK=TOKENS with a task of {', '.join(usual)}"
            )
        out[task] = Lengths(int(tokens), max(int(tokens), usual[task].limit))
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, usual = parser.add_argument, Study()
    for part in (usual, usual.engine):
        for item in fields(part):
            if "help" in item.metadata:
                option, default = f"--{item.name.replace('_', '-')}", item.default
                choices = sorted(GPUS) if item.name == "gpu" else None
                told = item.metadata["help"]
                add(option, type=type(default), default=default, choices=choices, help=told)
    for option, name in (("--response-tokens", "direct"), ("--thinking-tokens", "thinking")):
        lengths = getattr(usual, name)
        add(
            option,
            dest=name,
            type=partial(lengths_read, usual=lengths),
            default=lengths,
            metavar="TASK=TOKENS,...",
            help="mean tokens of a response",
        )
    given = vars(parser.parse_args(arguments))
    engine = Engine(**{item.name: given.pop(item.name) for item in fields(Engine)})
    print_all(Study(engine=engine, **given))


if __name__ == "__main__":
    main()
