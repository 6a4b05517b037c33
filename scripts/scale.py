"""What a full study costs: prompts, tokens and GPU-hours, calculated and not measured.

    python -m scripts.scale                                   # the tables of docs/scale.md
    python -m scripts.scale --personas 148 --samples 16       # of a study of one's own
    python -m scripts.scale --response-tokens math500=1200    # with a length seen in a pilot

The study is the one of PerMix-RLVR (arXiv 2604.08986): models of five sizes as five checkpoints
each, on MATH500, AIME24, LiveCodeBench and PersonaGym. Prompt tokens were measured
(`scripts/prompt_tokens.py`), response tokens are assumed, throughput is a roofline
(`scripts/roofline.py`).
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, NamedTuple

from scripts.prompt_tokens import Prompts
from scripts.roofline import (
    GPUS,
    JUDGES,
    MODELS,
    PUBLISHED,
    Engine,
    Lengths,
    Model,
    Work,
    batch_size,
    calculated,
    full_step,
    known,
    rate,
    times,
)

CHECKPOINTS = ("instruct", "SFT", "distilled", "RLVR", "PerMix")
SHARDS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 30)  # AIME24 has 30 questions to share
SLOW_HOST_MS = 20.0
V6 = 1055 - 17  # problems of LiveCodeBench's release v6 without its errata

# what scripts/prompt_tokens.py printed, with SmolLM2-135M-Instruct's tokenizer and template
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
def in_shard(questions: int, shard: int, shards: int) -> int:
    """Questions of shard 1, 2, ... of `shards`, where each takes every n-th."""
    return (questions - shard) // shards + 1


def task_work(study: Study, thinks: bool = False, shard: int = 1, shards: int = 1) -> list[Work]:
    """The work of one checkpoint, or of one shard of it, a task each."""
    out = []
    for name, length in (study.thinking if thinks else study.direct).items():
        measured = MEASURED[name]
        questions = study.livecodebench if name == "livecodebench" else measured.questions
        # each question of PersonaGym has its persona
        personas = 1 if name == "personagym" else study.personas
        samples = study.samples if name == "aime24" else 1
        fresh = (measured.fresh + (samples - 1) * measured.again) / samples
        responses = in_shard(questions, shard, shards) * personas * samples
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


# --------------------------------------------------------------------------- schedules
def job_seconds(model: Model, works: Sequence[Work], study: Study) -> float:
    """One job: a model is loaded, and its tasks (or a shard of them) are asked together."""
    return study.start_s + times(model, works, study.engine).total


def jobs(runs: Runs, shards: int, study: Study) -> list[float]:
    """The seconds of all jobs of these models, one for each checkpoint and shard."""
    return [
        job_seconds(model, task_work(study, thinks, shard, shards), study)
        for model, thinks in runs
        for shard in range(1, shards + 1)
        for _ in CHECKPOINTS
    ]


def study_file(runs: Runs, shards: int, study: Study) -> list[float]:
    """The seconds of each of `shards` processes that take a shard of every checkpoint."""
    one_by_one = jobs(runs, shards, study)
    a_model = shards * len(CHECKPOINTS)
    return [
        sum(
            one_by_one[model * a_model + shard * len(CHECKPOINTS)] * len(CHECKPOINTS)
            for model in range(len(runs))
        )
        for shard in range(shards)
    ]


def makespan(seconds: Iterable[float], gpus: int) -> float:
    """Time until all jobs are done, the longest first, each on the next free GPU."""
    free = [0.0] * gpus
    for job in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)


def best_shards(runs: Runs, gpus: int, study: Study) -> tuple[float, int]:
    """The shortest wall time on so many GPUs, seconds, and its shards a checkpoint."""
    return min((makespan(jobs(runs, s, study), gpus), s) for s in SHARDS)


def hours(runs: Runs, study: Study) -> float:
    """Hours on one GPU, a checkpoint after the other, loading and draining included."""
    return sum(jobs(runs, 1, study)) / 3600


# --------------------------------------------------------------------------- rows
THINK = "Qwen-3 thinking"
DIRECTLY: Runs = [(model, False) for model in MODELS]
THINKERS: Runs = [(model, True) for model in MODELS if model.thinks]
MIXED: Runs = [(model, model.thinks) for model in MODELS]


def title(model: Model, thinks: bool) -> str:
    return model.name + (", thinking" if thinks else "")


def millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M"


def clock(seconds: float) -> str:
    """As hours from two hours on, else as minutes."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"


def token_cells(works: Sequence[Work], times_each: int = 1) -> list[str]:
    """Prompts, prompt tokens and response tokens."""
    return [
        f"{times_each * sum(w.responses for w in works):,}",
        millions(times_each * sum(w.responses * w.prompt for w in works)),
        millions(times_each * sum(w.responses * w.length.mean for w in works)),
    ]


def run_row(name: str, runs: Runs, study: Study, gpus: Sequence[int]) -> list[str]:
    """Tokens, GPU-hours and wall time of all checkpoints of these models."""
    works = [work for _, thinks in runs for work in task_work(study, thinks)]
    best = [best_shards(runs, count, study) for count in gpus]
    walls = [f"{clock(seconds)} ({shards})" for seconds, shards in best]
    return [name, *token_cells(works, len(CHECKPOINTS)), f"{hours(runs, study):,.1f}", *walls]


def summary_rows(study: Study, gpus: Sequence[int]) -> Iterable[list[str]]:
    """The study in three lines."""
    for name, runs in (("answering directly", DIRECTLY), (f"with {THINK}", MIXED)):
        what = f"{len(runs)} x {len(CHECKPOINTS)} checkpoints, {name}"
        yield run_row(what, runs, study, gpus)
    judges = judging(study)
    yield [
        f"two judges for PersonaGym, {JUDGES[0].gpus} GPUs each",
        *token_cells([judge.work for judge in judges]),
        f"{sum(judge.hours for judge in judges):,.1f}",
        *("–" for _ in gpus),
    ]


def model_rows(study: Study, gpus: Sequence[int]) -> Iterable[list[str]]:
    """GPU-hours and wall time of each model, and how it does each task, without endings."""
    engine = study.engine
    for model, thinks in [*DIRECTLY, *THINKERS]:
        name = title(model, thinks)
        _, _, _, _, *cells = run_row(name, [(model, thinks)], study, gpus)
        for work in task_work(study, thinks):
            alone = times(model, [work], engine)
            used = len(CHECKPOINTS) * (alone.prefill + alone.decode) / 3600
            batch = batch_size(model, work, engine)
            cells.append(f"{batch} / {rate(model, work, engine):,.0f} / {used:.1f}")
        yield [name, *cells, f"{model.kv_bytes(4000) / 1e9:.2f}"]


def way_rows(study: Study) -> Iterable[list[str]]:
    """Ways to split the study over GPUs, without thinking models and with them."""
    n = len(MODELS) * len(CHECKPOINTS)
    each = [(jobs, 64, s, f"{n} x {s} jobs, one a checkpoint and shard") for s in (3, 5, 10, 15)]
    for make, gpus, shards, what in (
        (study_file, 8, 8, "one after the other, `--shard i/8` on each GPU"),
        (jobs, 8, 1, f"{n} jobs, one a checkpoint"),
        *each,
    ):
        cells = [f"{gpus}", what, f"{len(make(DIRECTLY, shards, study))}"]
        for runs in (DIRECTLY, MIXED):
            seconds = make(runs, shards, study)
            cells.append(clock(makespan(seconds, gpus)))
            cells.append(clock(max(seconds)))
            cells.append(f"{sum(seconds) / 3600:,.1f}")
        yield cells


def lost_rows(study: Study) -> Iterable[list[str]]:
    """What a vLLM job loses where it is killed: the most of any model and task."""
    for name, runs in (("answering directly", DIRECTLY), (THINK, THINKERS)):
        steps = [
            (work.length, full_step(model, work, study.engine))
            for model, thinks in runs
            for work in task_work(study, thinks)
        ]
        work_lost = max(length.so_far * seconds for length, seconds in steps)
        longest = max(length.limit * seconds for length, seconds in steps)
        yield [name, f"{work_lost / 60:.1f} min", f"{longest / 60:.1f} min"]


def token_rows(study: Study) -> Iterable[list[str]]:
    """What one checkpoint is asked; the same for all models, as one tokenizer counted."""
    for direct, thinking in zip(task_work(study), task_work(study, True), strict=True):
        yield [
            TITLES[direct.name],
            f"{direct.responses:,}",
            f"{direct.prompt:.1f}",
            f"{direct.fresh:.1f}",
            millions(direct.responses * direct.prompt),
            millions(direct.responses * direct.length.mean),
            millions(thinking.responses * thinking.length.mean),
        ]


def split_rows(study: Study) -> Iterable[list[str]]:
    """Two GPUs: two shards beside one model split over both, tokens/s."""
    for work in task_work(study)[:2]:
        half, cells = work._replace(responses=work.responses // 2), [TITLES[work.name]]
        for model in MODELS:
            shards = 2 * rate(model, half, study.engine)
            split = rate(replace(model, gpus=2), work, study.engine)
            cells.append(f"{shards:,.0f} / {split:,.0f}")
        yield cells


def judge_rows(study: Study) -> Iterable[list[str]]:
    for name, model, work, used in judging(study):
        yield [
            name,
            f"{work.responses:,}",
            millions(work.responses * work.prompt),
            millions(work.responses * work.fresh),
            millions(work.responses * work.length.mean),
            f"{rate(model, work, study.engine):,.0f}",
            f"{used:.1f}",
        ]


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


def check_rows(study: Study) -> Iterable[list[str]]:
    """Published throughputs beside the roofline's."""
    for point in PUBLISHED:
        ours = calculated(point, study.engine)
        where = f"{point.model.gpus} x {GPUS[point.gpu].name}"
        lengths = f"{point.prompt:,} + {point.response:,}"
        measured = [point.model.name, where, lengths, f"{point.rate:,.0f}"]
        yield [point.engine, *measured, f"{ours:,.0f}", f"{ours / point.rate:.2f}"]


def assumed_rows(study: Study) -> Iterable[list[str]]:
    for part in (study, study.engine):
        for item in fields(part):
            if "help" in item.metadata:
                yield [
                    f"`--{item.name.replace('_', '-')}`",
                    f"{getattr(part, item.name)}",
                    item.metadata["help"],
                ]
    pairs = {"--response-tokens": study.direct, "--thinking-tokens": study.thinking}
    for option, lengths in pairs.items():
        means = ", ".join(f"{task}={length.mean}" for task, length in lengths.items())
        limits = " / ".join(f"{length.limit:,}" for length in lengths.values())
        yield [f"`{option}`", means, f"mean tokens of a response; at most {limits}"]


# --------------------------------------------------------------------------- the command
def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A Markdown table; all columns but the first `left` to the right."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * left + "---:|" * (len(head) - left))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_all(study: Study, gpus: Sequence[int]) -> None:
    """Every table of docs/scale.md, in its order."""
    print("Calculated, not measured.\n")
    walls = [f"on {count} (shards)" for count in gpus]
    tokens = ("prompts", "prompt tokens", "response tokens")
    used = f"GPU-hours, {GPUS[study.engine.gpu].name}"
    table(("calculated", *tokens, used, *walls), summary_rows(study, gpus))
    lost = ("work in flight, on average", "one response at its limit")
    table(("`vllm`, slowest model and task", *lost), lost_rows(study))

    head = ("five checkpoints of", "GPU-hours", *walls, *TITLES.values(), "GB of 4,000 tokens")
    table(head, model_rows(study, gpus))
    three = ("wall time", "longest job", "GPU-hours")
    thinking = [f"{name}, {THINK}" for name in three]
    table(("GPUs", "what is run", "jobs", *three, *thinking), way_rows(study), left=2)
    names = [model.name for model in MODELS]
    table(("on 2 GPUs, tokens/s of 2 shards / of a split model", *names), split_rows(study))
    a_prompt = ("prompts", "tokens a prompt", "computed")
    all_tokens = ("prompt tokens", "response tokens", "thinking")
    table(("one checkpoint", *a_prompt, *all_tokens), token_rows(study))
    judge = ("calls", "prompt tokens", "computed", "response tokens")
    each = JUDGES[0].gpus
    table(("judge", *judge, f"tokens/s on {each} GPUs", "GPU-hours"), judge_rows(study))

    table(("option", "assumed", "what"), assumed_rows(study), left=3)
    table(("GPU-hours with", "all five", THINK, "judges"), variant_rows(study))

    known_rates = ("measured tokens/s", "calculated", "ratio")
    table(("published for", "model", "GPUs", "tokens", *known_rates), check_rows(study), left=4)
    slow = calculated(PUBLISHED[-1], replace(study.engine, host_ms=SLOW_HOST_MS))
    ratios = sorted(calculated(point, study.engine) / point.rate for point in PUBLISHED)
    below = [ratio for ratio in ratios if ratio < 1]
    if below:
        print(
            f"In {len(below)} of {len(ratios)} rows the calculated rate is {below[0]:.2f} to "
            f"{below[-1]:.2f} of the measured one."
        )
    print(
        f"With {SLOW_HOST_MS:.0f} ms lost at each step the last row is calculated as "
        f"{slow:,.0f} tokens/s (ratio {slow / PUBLISHED[-1].rate:.2f})."
    )


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
    add("--gpus", type=int, nargs="+", default=[8, 64], help="wall time on so many")
    given = vars(parser.parse_args(arguments))
    gpus = given.pop("gpus")
    engine = Engine(**{item.name: given.pop(item.name) for item in fields(Engine)})
    print_all(Study(engine=engine, **given), gpus)


if __name__ == "__main__":
    main()
