"""The knobs of a task: what `--metadata` can set, checked by pydantic."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from persona_bench import benchmarks
from persona_bench.benchmarks.base import Benchmark, Question, choose_questions
from persona_bench.benchmarks.questions_file import benchmark_of_file
from persona_bench.benchmarks.questions_hub import benchmark_of_hub
from persona_bench.harness.design import Pairs, read_design
from persona_bench.harness.script import MOST_SCRIPTS, MOST_TURNS
from persona_bench.personas import PersonaSet, Wording, load_persona_set
from persona_bench.yaml_files import Part, sentence

FILE, HUB = "file:", "hub:"
"""What stands before the path of a file of questions, and before a dataset of the hub, where a task
or benchmark is named."""
SystemRole = Literal["native", "merge", "error"]
GENERATION = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "do_sample", "until", "stop", "max_new_tokens",
        "max_tokens", "max_completion_tokens", "num_beams", "num_return_sequences",
        "repetition_penalty", "presence_penalty", "frequency_penalty", "gen_kwargs",
        "generation_kwargs",
    }
)  # fmt: skip
"""Generation arguments that no backend takes as a model argument, so that they are misplaced."""
NUMBERS = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "max_gen_toks", "max_new_tokens", "max_tokens",
        "max_completion_tokens", "num_beams", "repetition_penalty", "presence_penalty",
        "frequency_penalty", "seed",
    }
)  # fmt: skip
"""Generation arguments that are numbers."""
OTHER_GENERATION = frozenset(
    {"min_tokens", "min_new_tokens", "top_a", "repeat_penalty", "temperature_last"}
)
"""Real arguments whose names are near those of others."""


class KnobError(ValueError):
    """A knob in `--metadata` with an impossible name or value."""


def check_generation(arguments: Mapping[str, Any], task_knobs: Collection[str] = ()) -> None:
    """Refuses generation arguments that would do nothing, or can't be.

    Backends and endpoints take arguments that nobody can list, so an unknown name is refused only
    where it is a knob's, or nearly that of a usual argument.

    Args:
        arguments: What `--gen_kwargs` holds, with the task's own.
        task_knobs: Names of the benchmark's own knobs.

    Raises:
        KnobError: such a name, a text where a number belongs, or a temperature without sampling.
    """
    knobs = {each.name for each in fields(Knobs)} - {"own"} | set(task_knobs)
    for name, value in arguments.items():
        if name in knobs:
            raise KnobError(
                f"{name!r} is a knob and would do nothing here: move it from --gen_kwargs to "
                "--metadata"
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in NUMBERS and value is not None and not number:
            raise KnobError(f"--gen_kwargs {name}={value!r} must be a number")
        if name in GENERATION or name in NUMBERS or name in OTHER_GENERATION:
            continue
        known = sorted(GENERATION | NUMBERS)
        if close := get_close_matches(name, known, n=1, cutoff=0.8):
            raise KnobError(f"--gen_kwargs has {name!r}: did you mean {close[0]!r}?")
    if arguments.get("do_sample") is False and (temperature := arguments.get("temperature")):
        raise KnobError(  # lm-eval goes on greedily
            f"--gen_kwargs temperature={temperature} does nothing while decoding is greedy: add "
            "do_sample=True, or leave temperature out"
        )


def _number(value: Any) -> Any:
    """`--metadata` passes numbers as text too, where it is not JSON; true is none."""
    return str(value) if isinstance(value, bool) else value


def _names(value: Any) -> Any:
    """`a,b` and `a+b` as the names in it."""
    names = value.replace("+", ",").split(",") if isinstance(value, str) else value
    return [str(name).strip() for name in names] if isinstance(names, (list, tuple)) else names


def _design(value: Any) -> Any:
    if not isinstance(value, (str, dict)):
        raise ValueError(
            f"design={value!r} must be a .csv or .json file of (question, persona) pairs, or a "
            'share to draw, such as {"share": 0.1, "seed": 0}'
        )
    return value


def numbers_of_turns(given: Any) -> tuple[int, ...]:
    """The knob `turns`: one number of rounds or several, in ascending order.

    Raises:
        KnobError: no whole numbers, one twice, or more rounds than a script has.
    """
    listed = given if isinstance(given, (list, tuple)) else [given]
    whole = bool(listed) and all(str(each).isdecimal() for each in listed)
    if not whole or len(set(map(int, listed))) < len(listed):
        raise KnobError(f"turns={given!r} must be different whole numbers, such as [0, 4, 16]")
    turns = sorted(map(int, listed))
    if turns[-1] > MOST_TURNS:
        raise KnobError(f"turns={given!r}: a script has {MOST_TURNS} turns")
    return tuple(turns)


def _wording(value: Any) -> Any:
    """`last`, `all`, or a number from 1, which may be text."""
    whole = isinstance(value, (int, str)) and not isinstance(value, bool)
    if value not in ("last", "all") and not (whole and str(value).isdecimal() and int(value)):
        raise ValueError(f"wording={value!r} must be last, all, or a whole number from 1")
    return value if value in ("last", "all") else int(value)


def _shard(text: str) -> str:
    return "{}/{}".format(*parse_shard(text))


Count = Annotated[int, BeforeValidator(_number), Field(ge=1)]


class Training(Part):
    """How a checkpoint was trained, as far as comparisons of methods need it."""

    method: str
    seed: int

    @model_validator(mode="before")
    @classmethod
    def _both(cls, given: Any) -> Any:
        if not isinstance(given, dict) or set(given) != {"method", "seed"}:
            raise ValueError(
                f"training={given!r} must have a method and a seed, such as "
                '{"method": "rlvr", "seed": 1}'
            )
        return given


@dataclass(frozen=True)
class Knobs:
    """What `--metadata` can set.

    lm-eval passes the model's own arguments through the same door, so the names here are
    ones that no backend uses: `persona_seed`, because `seed` is vLLM's.

    Attributes:
        persona_set: A bundled set's name, or the path of a YAML file.
        n_personas: Only this many of them, balanced over the kinds.
        kinds: Only these kinds of persona.
        n_questions: Only this many questions, balanced over the levels.
        persona_seed: Seed of these draws, and of generated questions.
        samples: Responses per prompt; more than one needs sampling.
        system_role: `native`: the persona is the system message, and a chat template that drops it
            stops the run; `merge`: it goes before the question, in the user message; `error`: as
            `native`, and a template that folds the system message into the user's stops it too.
        data_dir: Mirror folder of benchmark files.
        own: The benchmark's own knobs that were given.
        design: Only these pairs of question and persona: a .csv or .json file, or a share
            to draw (see `read_design`); all pairs where there is none.
        shard: `i/n`: only each n-th question, from the i-th on, for a run that n machines share.
        training: Method and seed of the checkpoint, where no `train.yaml` lies beside its weights:
            `{"method": "rlvr", "seed": 1}`.
        turns: Rounds of conversation between the system message and the question; each number
            becomes a task of its own (docs/conversations.md). Empty where the knob is not given.
        scripts: Conversations that each persona has, by different scripts; the questions share
            them in balance.
        turn_tokens: Tokens that a reply in these conversations may have.
        wording: Which wording of each persona is asked: `last` (the fullest), a number from 1, or
            `all`.
        placebos: A bundled set's name, or the path of a YAML file, whose placebos are asked beside
            the personas.
    """

    persona_set: Annotated[str, BeforeValidator(str)] = "core"
    n_personas: Count | None = None
    kinds: Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)] | None = None
    n_questions: Count | None = None
    persona_seed: Annotated[int, BeforeValidator(_number), Field(ge=0)] = 0
    samples: Count = 1
    system_role: SystemRole = "native"
    data_dir: Annotated[str, BeforeValidator(str)] | None = None
    own: Mapping[str, Any] = field(default_factory=dict, hash=False)
    design: Annotated[str | dict[str, Any], BeforeValidator(_design)] | None = None
    shard: Annotated[str, AfterValidator(_shard)] | None = None
    training: Training | None = None
    turns: Annotated[tuple[int, ...], BeforeValidator(numbers_of_turns)] = ()
    scripts: Annotated[Count, Field(le=MOST_SCRIPTS)] = 4
    turn_tokens: Count = 256
    wording: Annotated[Wording, BeforeValidator(_wording)] = "last"
    placebos: Annotated[str, BeforeValidator(str)] | None = None

    @classmethod
    def from_metadata(
        cls,
        metadata: Mapping[str, Any],
        benchmark: Benchmark | None = None,
        others: Sequence[Benchmark] = (),
        *,
        only_knobs: bool = False,
    ) -> Knobs:
        """Picks the knobs out of lm-eval's metadata and checks them.

        Args:
            metadata: What lm-eval passes.
            benchmark: The benchmark; its own knobs are read too.
            others: Benchmarks whose own knobs are refused.
            only_knobs: The model's arguments are not among the metadata, so that every name has
                to be a knob's. Otherwise an unknown name may be one of theirs, and is refused
                only where it is nearly a knob's or a generation argument's.

        Raises:
            KnobError: a value that can't be, a name that is no knob's, or another benchmark's
                knob.
        """
        names = [field.name for field in fields(cls) if field.name != "own"]
        readers = benchmark.knobs if benchmark else {}
        for key in metadata:
            for other in others:
                if key in other.knobs and key not in readers:
                    raise KnobError(
                        f"{key!r} is a knob of persona_{other.name} alone: leave it out of "
                        f"--metadata, or run that task by itself"
                    )
            known = [*names, *readers]
            if key in known:
                continue
            if key in GENERATION or (only_knobs and key == "max_gen_toks"):
                raise KnobError(
                    f"{key!r} is a generation argument and would do nothing here: move it from "
                    "--metadata or --model_args to --gen_kwargs"
                )
            close = get_close_matches(key, known, n=1, cutoff=0.6 if only_knobs else 0.8)
            if close or only_knobs or key.startswith("persona"):
                raise KnobError(
                    f"--metadata has no {key!r}: "
                    + (f"did you mean {close[0]!r}?" if close else f"use {', '.join(known)}")
                )
        given = {name: metadata[name] for name in names if metadata.get(name) is not None}
        own = _own(metadata, readers)
        try:
            return cls(**given, own=own)
        except ValidationError as error:
            raise KnobError(sentence(error.errors()[0])) from None

    def choose_personas(self, benchmark: Benchmark) -> PersonaSet:
        """The persona set, or the benchmark's own, loaded and cut to what was asked for.

        Placebos stand beside it, except where responses are judged: they have no role to play.

        Raises:
            KnobError: nobody is left who could be judged, nothing but placebos, or several
                wordings before which there are conversations.
            PersonaSetError, SourceError: see there.
        """
        if benchmark.personas:
            found = benchmark.personas(self.folder)
        else:
            found = load_persona_set(self.persona_set)
        if benchmark.judged:
            roles = tuple(each for each in found if each.kind not in ("control", "placebo"))
            if not roles:
                raise KnobError(
                    f"persona_{benchmark.name}: persona set {found.name!r} has only controls and "
                    "placebos, which have no role to play: choose another persona_set"
                )
            found = replace(found, personas=roles)
        found = found.choose(self.n_personas, self.kinds, self.persona_seed)
        if all(persona.kind == "placebo" for persona in found):
            raise KnobError(
                f"persona set {found.name!r} has only placebos, which are for comparison: name it "
                "in the knob placebos, beside a persona_set"
            )
        if self.turns and self.wording == "all":
            raise KnobError("a persona with turns has one wording: leave out turns, or wording=all")
        if not benchmark.personas:
            found = found.worded(self.wording)
        if self.placebos is not None and not benchmark.judged:
            found = found.beside(load_persona_set(self.placebos))
        return found

    @property
    def folder(self) -> Path | None:
        """The mirror folder."""
        return Path(self.data_dir) if self.data_dir else None

    def configure(self, benchmark: Benchmark) -> Benchmark:
        """The benchmark under its own knobs."""
        return benchmark.configured(self.folder, self.own) if benchmark.configured else benchmark

    def choose_questions(self, benchmark: Benchmark, personas: PersonaSet) -> list[Question]:
        """The questions for these personas, loaded and cut to what was asked for, of all shards."""
        asked = {"", *(persona.id for persona in personas)}
        questions = [
            question
            for question in benchmark.load(self.folder, self.persona_seed)
            if question.persona in asked
        ]
        return choose_questions(questions, self.n_questions, self.persona_seed)

    def check_limit(self, task: str, questions: Sequence[str], limit: float | None) -> None:
        """Refuses a `--limit` that cuts a design, or the first question.

        Args:
            task: The task's name, for the message.
            questions: The question of each document.
            limit: How many documents are asked; None: all.

        Raises:
            KnobError: too small a limit.
        """
        if limit is None:
            return
        if self.design is not None and limit < len(questions):
            raise KnobError(
                f"{task}: --limit {limit} would cut a design of {len(questions)} prompts: leave "
                "--limit out, and make the design as small as wanted"
            )
        block = max(Counter(questions).values())
        if limit < block:
            raise KnobError(
                f"{task}: --limit {limit} is fewer than the {block} prompts of one question "
                f"(personas × wordings × {self.samples} samples): use a multiple of {block}, or "
                f"choose questions with n_questions in --metadata"
            )

    def of_shard(self, questions: Sequence[Question]) -> list[Question]:
        """Those questions that are this shard's; all where there are no shards."""
        if self.shard is None:
            return list(questions)
        index, count = parse_shard(self.shard)
        if count > len(questions):
            raise KnobError(f"shard={self.shard}: there are only {len(questions)} questions")
        return list(questions[index - 1 :: count])

    def choose_pairs(self, questions: Sequence[Question], personas: PersonaSet) -> Pairs | None:
        """The (question, persona) pairs of the design; None where all are asked."""
        if self.design is None:
            return None
        return read_design(self.design, [q.id for q in questions], [p.id for p in personas])

    def record(self) -> dict[str, Any]:
        """As plain data, for the results file."""
        told = asdict(self)
        del told["training"]  # recorded apart, since a checkpoint may name its training itself
        if not self.turns:
            for name in ("turns", "scripts", "turn_tokens"):
                del told[name]
        elif len(self.turns) == 1:
            (told["turns"],) = self.turns
        return {**told, **told.pop("own")}


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` as two numbers.

    Raises:
        KnobError: anything else, or `i` not between 1 and `n`.
    """
    index, slash, count = text.partition("/")
    numbers = slash and index.strip().isdigit() and count.strip().isdigit()
    if numbers and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise KnobError(f"shard={text!r} must be i/n, with i from 1 to n: the i-th of n parts")


def _own(
    metadata: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    own = {}
    for name, read in readers.items():
        if metadata.get(name) is not None:
            try:
                own[name] = read(metadata[name])
            except (ValueError, TypeError) as error:
                raise KnobError(f"{name}: {error}") from None
    return own


# ---------------------------------------------------------------------- of a benchmark
def is_own_data(name: str) -> bool:
    """Whether a task is a file of questions, or a dataset of the hub."""
    return name.startswith((FILE, HUB))


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of `persona_bench/benchmarks/<name>.py`, of a file, or of a dataset.

    Args:
        name: `<name>`, or `file:` and the path of the questions, or `hub:ORG/NAME`.
    """
    if name.startswith(HUB):
        return benchmark_of_hub(name)
    if name.startswith(FILE):
        return benchmark_of_file(Path(name.removeprefix(FILE)))
    module = importlib.import_module(f"persona_bench.benchmarks.{name}")
    benchmark: Benchmark = module.BENCHMARK
    return benchmark


def knobs_of(metadata: Mapping[str, Any], name: str) -> tuple[Knobs, Benchmark]:
    """The knobs of one task, and its benchmark under them.

    Raises:
        KnobError: an impossible knob, or one of another benchmark's own.
    """
    return configured(metadata, benchmark_named(name))


def configured(metadata: Mapping[str, Any], benchmark: Benchmark) -> tuple[Knobs, Benchmark]:
    """As `knobs_of`, for a benchmark that is at hand."""
    knobs = Knobs.from_metadata(metadata, benchmark, _all_benchmarks())
    return knobs, knobs.configure(benchmark)


def check_knobs(metadata: Mapping[str, Any], names: Iterable[str]) -> None:
    """Whether metadata without the model's arguments has only knobs of these benchmarks.

    Raises:
        KnobError: a name or a value that can't be.
    """
    for name in names:
        Knobs.from_metadata(metadata, benchmark_named(name), _all_benchmarks(), only_knobs=True)


def _all_benchmarks() -> list[Benchmark]:
    modules = [
        importlib.import_module(f"{benchmarks.__name__}.{module.name}")
        for module in pkgutil.iter_modules(benchmarks.__path__)
    ]
    return [module.BENCHMARK for module in modules if hasattr(module, "BENCHMARK")]
