"""Questions × personas: the documents of a task, and the knobs that choose them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from persona_bench.benchmarks.base import Benchmark, Question, choose_questions
from persona_bench.harness.design import Pairs, is_sparse, read_design
from persona_bench.personas import PersonaSet, Wording, load_persona_set
from persona_bench.rendering import merged

SystemRole = Literal["native", "merge", "error"]

SYSTEM_ROLES: dict[str, str] = {
    "native": "the persona is the system message; a chat template that drops it stops the run",
    "merge": "the persona goes before the question, in the user message",
    "error": "as native, and a template that folds the system message into the user's stops it too",
}


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


@dataclass(frozen=True)
class Knobs:
    """What `--metadata` can set.

    lm-eval passes the model's own arguments through the same door, so the names here are
    ones that no backend uses: `persona_seed`, because `seed` is vLLM's.

    Attributes:
        persona_set: A bundled set's name, or the path of a YAML file.
        n_personas: Only so many of them, drawn evenly over the kinds.
        kinds: Only these kinds of persona.
        n_questions: Only so many questions, drawn evenly over the levels.
        persona_seed: Seed of these draws, and of generated questions.
        samples: Responses per prompt; more than one needs sampling.
        system_role: One of `SYSTEM_ROLES`.
        data_dir: Mirror folder of benchmark files.
        own: The benchmark's own knobs that were given.
        design: Only these pairs of question and persona: a .csv or .json file, or a share
            to draw (see `read_design`); all pairs where there is none.
        shard: `i/n`: only each n-th question, from the i-th on, for a run that n machines share.
        training: Method and seed of the checkpoint, where no `train.yaml` lies beside its weights:
            `{"method": "rlvr", "seed": 1}`.
        wording: Which wording of each persona is asked: `last` (the fullest), a number from 1, or
            `all`.
        placebos: A bundled set's name, or the path of a YAML file, whose placebos are asked beside
            the personas.
    """

    persona_set: str = "core"
    n_personas: int | None = None
    kinds: tuple[str, ...] | None = None
    n_questions: int | None = None
    persona_seed: int = 0
    samples: int = 1
    system_role: SystemRole = "native"
    data_dir: str | None = None
    own: Mapping[str, Any] = field(default_factory=dict, hash=False)
    design: str | dict[str, Any] | None = None
    shard: str | None = None
    training: Mapping[str, Any] | None = field(default=None, hash=False)
    wording: Wording = "last"
    placebos: str | None = None

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
            benchmark: Whose own knobs are read too.
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
        for name in ("n_personas", "n_questions", "persona_seed", "samples"):
            if name in given:
                given[name] = _whole_number(name, given[name], least=int(name != "persona_seed"))
        if "kinds" in given:
            given["kinds"] = _names("kinds", given["kinds"])
        if str(given.get("system_role", "native")) not in SYSTEM_ROLES:
            raise KnobError(
                f"system_role={given['system_role']!r} is unknown: use {', '.join(SYSTEM_ROLES)}"
            )
        if given.get("wording", "last") not in ("last", "all"):
            given["wording"] = _whole_number(
                "wording", given["wording"], least=1, or_else=", last or all"
            )
        for name in ("persona_set", "placebos", "data_dir"):
            if name in given:
                given[name] = str(given[name])
        if not isinstance(given.get("design", ""), (str, dict)):
            raise KnobError(
                f"design={given['design']!r} must be a .csv or .json file of (question, persona) "
                'pairs, or a share to draw, such as {"share": 0.1, "seed": 0}'
            )
        if "training" in given:
            told = given["training"]
            if not isinstance(told, dict) or set(told) != {"method", "seed"}:
                raise KnobError(
                    f"training={told!r} must have a method and a seed, such as "
                    '{"method": "rlvr", "seed": 1}'
                )
        if "shard" in given:
            given["shard"] = "{}/{}".format(*parse_shard(str(given["shard"])))
        return cls(**given, own=_own(metadata, readers))

    def choose_personas(self, benchmark: Benchmark) -> PersonaSet:
        """The persona set, or the benchmark's own, loaded and cut to what was asked for.

        Placebos stand beside it, except where responses are judged: they have no role to play.

        Raises:
            KnobError: nobody is left who could be judged, or nothing but placebos.
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


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.replace("+", ",").split(",")
    if not isinstance(value, (list, tuple)) or not value:
        raise KnobError(f'{name}={value!r} must be a list of names, such as ["expert", "speech"]')
    return tuple(str(item).strip() for item in value)


def _whole_number(name: str, value: Any, least: int, or_else: str = "") -> int:
    if isinstance(value, bool) or not (
        isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit())
    ):
        raise KnobError(f"{name}={value!r} must be a whole number{or_else}")
    if int(value) < least:
        raise KnobError(f"{name}={value!r} must be at least {least}")
    return int(value)


def cross(
    benchmark: Benchmark,
    questions: Sequence[Question],
    personas: PersonaSet,
    *,
    samples: int = 1,
    system_role: SystemRole = "native",
    pairs: Pairs | None = None,
) -> list[dict[str, Any]]:
    """One document per question, persona and sample.

    Question-major, so that lm-eval's `--limit` keeps whole blocks: every persona and
    sample of one question stand together; a question of one persona's own is asked of it alone.
    Where all wordings are asked, each has `samples` responses, numbered on from one wording to the
    next, the last wording first: its responses are then those of a run that asks it alone. A
    persona with fewer wordings than another is asked in some of them again, so that all personas
    have equally many responses. `system` is the system message (empty for
    none), `prompt` the user message. `pairs` restricts the crossing to a design; where that
    is no full block, every document says so (`sparse`), as its questions lack personas on
    purpose.
    """
    documents = []
    sparse = pairs is not None and is_sparse(pairs)
    slots = max(len(persona.asked(personas.wording)) for persona in personas)
    for question in questions:
        user = benchmark.prompt(question.problem)
        for persona in personas:
            if pairs is not None and (question.id, persona.id) not in pairs:
                continue
            if question.persona not in ("", persona.id):
                continue
            wordings = persona.asked(personas.wording)
            for sample in range(slots * samples):
                wording, text = wordings[sample // samples % len(wordings)]
                merge = system_role == "merge" and text
                documents.append(
                    {
                        "question": question.id,
                        "level": question.level,
                        "subject": question.subject,
                        "domain": benchmark.domain,
                        "persona": persona.id,
                        "kind": persona.kind,
                        "persona_domain": persona.domain,
                        "persona_level": persona.level,
                        "wording": wording,
                        "sample": sample,
                        "persona_prompt": text,
                        "system": "" if merge else text,
                        "prompt": merged(text, user) if merge else user,
                        "answer": question.answer,
                        **question.extra,
                        "sparse": sparse,
                    }
                )
    return documents
