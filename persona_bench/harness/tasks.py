"""What the task YAMLs name: the documents of a task, and the task class.

custom_dataset: !function persona_bench.harness.tasks.load
class: !function persona_bench.harness.tasks.PersonaTask
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.utils import normalize_gen_kwargs

import persona_bench
from persona_bench.benchmarks.base import Benchmark
from persona_bench.grading import Verdict
from persona_bench.grading.reasoning import reasoning_start
from persona_bench.harness.caching_lm import CachingLM
from persona_bench.harness.chat_date import dated_template, on_fixed_day, prints_date, today
from persona_bench.harness.conversations import LENGTH_ALIASES, Conversation
from persona_bench.harness.design import design_record
from persona_bench.harness.documents import build_documents
from persona_bench.harness.grade_finished import grade
from persona_bench.harness.knobs import (
    KnobError,
    benchmark_named,
    check_generation,
    configured,
    knobs_of,
)
from persona_bench.harness.metrics import graded_with_the_others
from persona_bench.harness.plain import seed_rank, warn_of_long_name
from persona_bench.provenance import training_of, versions
from persona_bench.rendering import (
    MissingPersonaError,
    check_persona,
    check_turns,
    prompt_text,
    template_facts,
)

log = logging.getLogger("persona_bench")

API_SEED = 1234  # what lm-eval sends with every API request
Cell = tuple[str, str, int]
"""Question, persona and sample."""
LONGEST = 50  # prompts whose tokens are counted: the longest in characters


def load(*, benchmark: str, **metadata: Any) -> dict[str, datasets.Dataset]:
    """The documents of a task: questions × personas × samples.

    Args:
        benchmark: From the YAML's `dataset_kwargs`.
        metadata: What lm-eval passes: `--metadata`, and the model's own arguments.

    Raises:
        KnobError, PersonaSetError, SourceError, ValueError: one sentence that says what
            is wrong and what to do.
    """
    return build_documents(*knobs_of(metadata, benchmark))


class PersonaTask(ConfigurableTask):
    """A task whose documents are questions × personas.

    Beyond `ConfigurableTask` it puts the persona where it belongs, proves that it is in
    the rendered prompt, grades all responses together, and records how it was done in
    the results file (`configs.<task>.metadata.persona_bench`).

    Args:
        config: As lm-eval reads it from the YAML.
        benchmark: Where the questions come from; by default the one that `dataset_kwargs` names.

    Attributes:
        notices: What the user should be told of the task before it runs.
        graded: The record of each response, once all are there.
        reasoning_is_apart: Whether responses come without the reasoning, also where they were cut
            off in it.
        turns: Rounds of conversation before the question.
        conversations: By persona and script (see `harness.conversations`).
    """

    def __init__(self, config: dict[str, Any], benchmark: Benchmark | None = None) -> None:
        config = dict(config)
        config.pop("class", None)
        # else lm-eval looks each metric up in its registry and on the hub
        config["process_results"] = graded_with_the_others
        benchmark = benchmark or benchmark_named(config["dataset_kwargs"]["benchmark"])
        self.knobs, self.benchmark = configured(config.get("metadata") or {}, benchmark)
        self.notices: list[str] = []
        self.graded: dict[Cell, dict[str, Any]] = {}
        self.conversations: dict[tuple[str, int], Conversation] = {}
        self.turns = self.knobs.turns[0] if len(self.knobs.turns) == 1 else 0
        self._lm: Any = None
        self.reasoning_is_apart = False
        self._template = ""
        super().__init__(config=config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Builds the documents, once."""
        self.dataset = build_documents(self.knobs, self.benchmark)

    @property
    def personas(self) -> list[str]:
        """The ids of the personas, in the order of the documents."""
        return list(dict.fromkeys(self.dataset["test"]["persona"]))

    def check(self, limit: float | None) -> None:
        """Refuses what can be known to be wrong before a model is there.

        Raises:
            KnobError: too small a limit, several samples without sampling, or a generation
                argument that does nothing.
        """
        check_generation(self.config.generation_kwargs or {}, self.benchmark.knobs)
        self._one_name_for_length()
        if limit is not None and limit <= 0:
            raise KnobError(f"{self.task_name}: --limit {limit} must be above 0")
        share = limit is not None and limit < 1  # lm-eval: a share of the documents
        questions = self.dataset["test"]["question"]
        self.knobs.check_limit(
            self.task_name, questions, int(limit * len(questions)) if limit and share else limit
        )
        self._check_sampling()

    # ------------------------------------------------------------------ prompts

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        cache_requests: bool = False,
        rewrite_requests_cache: bool = False,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        chat_template: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Builds the requests, after everything that can be known to be wrong is refused.

        Raises:
            KnobError: too small a limit, several samples without sampling, or a generation
                argument that does nothing.
            MissingPersonaError: the chat template loses the persona.
        """
        self._lm = model_of(chat_template)
        self.reasoning_is_apart = self._reasoning_is_apart()
        self.check(limit)
        self._check_conversations()
        if not isinstance(self._lm, CachingLM):
            warn_of_long_name(self.task_name, self.config.metadata or {})
            if self.knobs.samples > 1:
                seed_rank(kwargs.get("rank", 0))
        if cache_requests:
            log.warning(
                "%s: --cache_requests is not used, as lm-eval's key does not cover the personas",
                self.task_name,
            )
        if system_instruction:
            log.warning(
                "%s: --system_instruction stands before every persona, the control's too",
                self.task_name,
            )
        self.use(self._lm, apply_chat_template)
        self._record(chat_template if apply_chat_template else None, system_instruction)
        super().build_all_requests(
            limit=limit,
            system_instruction=system_instruction,
            apply_chat_template=apply_chat_template,
            chat_template=chat_template,
            **kwargs,
        )
        self._check_room()

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int = 0,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        chat_template: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The prompt of one document, with the persona proven to be in it."""
        system = "\n\n".join(text for text in (system_instruction, self._system(doc)) if text)
        chat = apply_chat_template and chat_template is not None
        if system and not chat:
            system += "\n\n"  # lm-eval joins system and user text with nothing between
        rendered = self._render(
            doc,
            num_fewshot=num_fewshot,
            system_instruction=system or None,
            apply_chat_template=apply_chat_template,
            chat_template=chat_template,
            **kwargs,
        )
        # a question with an input for each choice has a prompt for each
        several = isinstance(rendered, list) and all(isinstance(each, str) for each in rendered)
        for prompt in rendered if several else [rendered]:
            check_persona(prompt, doc["persona_prompt"], doc["persona"], self._template)
            if self.turns and chat:
                talk = self.conversations[doc["persona"], doc["script"]]
                check_turns(prompt, talk.lines[: self.turns], self._template)
        return rendered

    def _system(self, doc: dict[str, Any]) -> str:
        """The persona's part of the system message."""
        return str(doc["system"])

    def _render(self, doc: dict[str, Any], **kwargs: Any) -> Any:
        """The prompt, with the system message that is given."""
        kwargs["chat_template"] = self._after_conversation(doc, kwargs["chat_template"])
        return super().fewshot_context(doc, **kwargs)

    def _after_conversation(
        self, doc: Mapping[str, Any], chat_template: Callable[..., Any] | None
    ) -> Callable[..., Any] | None:
        """A chat template with the document's conversation after the system message."""
        if not self.turns or chat_template is None:
            return chat_template
        said = self.conversations[doc["persona"], doc["script"]].messages(self.turns)

        def apply(messages: list[dict[str, str]], **more: Any) -> Any:
            first = int(messages[0]["role"] == "system")
            return chat_template([*messages[:first], *said, *messages[first:]], **more)

        return apply

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Any:
        """As lm-eval's, with a seed per sample where an API would repeat itself."""
        request = self._requests(doc, ctx, **kwargs)
        if self.turns:
            talk = self.conversations[doc["persona"], doc["script"]]
            for each in request if isinstance(request, list) else [request]:
                each.doc = talk.marked(doc, self.turns)
        if (self.knobs.samples > 1 or doc["sample"]) and self._takes_seed():
            context, gen_kwargs = request.arguments
            request.arguments = (context, {**gen_kwargs, "seed": API_SEED + doc["sample"]})
        return request

    def _requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Any:
        """lm-eval's request or requests for a prompt."""
        return super().construct_requests(doc, ctx, **kwargs)

    # ------------------------------------------------------------------ grading

    def apply_filters(self) -> Any:
        """Grades all responses together once they are in."""
        result = super().apply_filters()
        if "bypass" not in self._metric_fn_list:  # --predict_only
            self.grade(self.instances)
        return result

    def grade(self, instances: list[Instance]) -> None:
        """Grades requests that have been answered, into `graded`."""
        finishes = [self._finish(instance.resps[0]) for instance in instances]
        starts = [
            self._open_reasoning(instance.args[0], finish)
            for instance, finish in zip(instances, finishes, strict=True)
        ]
        responses = [
            start + instance.resps[0] if instance.resps[0] else instance.resps[0]
            for instance, start in zip(instances, starts, strict=True)
        ]
        golds = [instance.doc["answer"] for instance in instances]
        verdicts = grade(self.benchmark, responses, golds, finishes)
        for n, (instance, verdict) in enumerate(zip(instances, verdicts, strict=True)):
            more: dict[str, Any] = {"reasoning_start": starts[n]} if starts[n] else {}
            if (tokens := self._length(instance.resps[0])) is not None:
                more["tokens"] = tokens
            self._record_grade(instance.doc, verdict, finishes[n], more)

    def _record_grade(
        self, doc: dict[str, Any], verdict: Verdict, finish: str, more: Mapping[str, Any]
    ) -> None:
        self.graded[cell_of(doc)] = {
            **{name: doc[name] for name in ("question", "persona", "kind", "sample")},
            **verdict._asdict(),
            "sparse": doc["sparse"],
            "finish": finish,
            **more,
        }

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """The same record for every metric: each aggregation needs the whole table."""
        if "bypass" in self._metric_fn_list:
            return {"bypass": 999}
        record = self.graded[cell_of(doc)]
        return dict.fromkeys(self._aggregation_list, record)

    def _open_reasoning(self, prompt: Any, finish: str) -> str:
        """The marker of reasoning that the prompt ends with and the response has to go on from.

        DeepSeek-R1's chat template begins the reasoning in the prompt: a response that was cut off
        in it has no marker at all, and its draft would be graded. With a think_end_token the
        reasoning has been taken off already; only where plain lm-eval found no end does all of it
        still stand there, as long as was allowed.
        """
        if self.reasoning_is_apart:
            return ""
        if getattr(self._lm, "think_end_token", None) and finish != "length":
            return ""
        return reasoning_start(prompt_text(prompt))

    def _finish(self, response: Any) -> str:
        """How a response ended, as the backend says, else by the count of its tokens.

        Plain lm-eval hands a task no finish reason: a response as long as it was allowed to be,
        in the model's tokens, was cut off. Counting again what was decoded can come out a
        little shorter than what was generated, hence the one per cent.
        """
        if not isinstance(response, str):
            return "error"
        if told := getattr(response, "finish", ""):
            return str(told)
        allowed = self._max_gen_toks()
        if len(response.encode(errors="replace")) < allowed * 0.9:  # a token is at least a byte
            return ""
        tokens = self._tokens(response)
        long = tokens is not None and tokens >= allowed - max(1, allowed // 100)
        return "length" if long else ""

    def _length(self, response: Any) -> int | None:
        """How many tokens a response has, as the backend says, else counted; None if unknown."""
        told = getattr(response, "tokens", None)
        if told is not None or not isinstance(response, str):
            return told
        return self._tokens(response)

    # ------------------------------------------------------------------ checks and records

    def _reasoning_is_apart(self) -> bool:
        lm = self._lm
        tells = isinstance(lm, CachingLM) and lm.backend.tells_finish
        return tells and bool(getattr(lm, "think_end_token", None))

    def _gen_kwargs(self) -> dict[str, Any]:
        default = int(getattr(self._lm, "max_gen_toks", 256) or 256)
        return dict(normalize_gen_kwargs(self.config.generation_kwargs or {}, default))

    def _max_gen_toks(self) -> int:
        return int(self._gen_kwargs()["max_gen_toks"])

    def _takes_seed(self) -> bool:
        """Whether a request can carry a seed: OpenAI-compatible endpoints, not Anthropic's."""
        if isinstance(self._lm, CachingLM):  # `persona-bench run` seeds each request itself
            return False
        api = hasattr(self._lm, "base_url") or "base_url" in (self.config.metadata or {})
        return api and "anthropic" not in type(self._lm).__name__.lower()

    def _one_name_for_length(self) -> None:
        """Whatever name --gen_kwargs gives the length, it replaces the YAML's.

        lm-eval leaves both in and prefers the YAML's `max_gen_toks`; API backends don't.
        """
        gen = dict(self.config.generation_kwargs or {})
        given = [gen.pop(name) for name in LENGTH_ALIASES if name in gen]
        if given:
            self.config.generation_kwargs = {**gen, "max_gen_toks": int(given[0])}

    def _tokens(self, text: str) -> int | None:
        """How many of the model's tokens a text has; None where only the server knows."""
        encode = getattr(self._lm, "tok_encode", None)
        if encode is None or getattr(self._lm, "tokenizer", None) is None:
            return None
        tokens = encode(text, add_special_tokens=False)
        if tokens and isinstance(tokens[0], list):
            tokens = tokens[0]
        return len(tokens) if isinstance(tokens, list) else None

    def _check_sampling(self) -> None:
        if self.knobs.samples > 1 and not self._samples_differ():
            raise KnobError(
                f"{self.task_name}: samples={self.knobs.samples}, but decoding is greedy, so "
                "every sample would be the same: add --gen_kwargs do_sample=True,"
                "temperature=0.7, or set samples to 1 in --metadata"
            )

    def _samples_differ(self) -> bool:
        gen = self._gen_kwargs()
        # where none is given, the API and vllm backends take 0 and hf takes 1: ask for one
        return bool(gen["do_sample"]) and float(gen.get("temperature") or 0.0) > 0

    def _check_conversations(self) -> None:
        """Refuses a run in which nobody holds the conversations."""
        if any(self.knobs.turns) and not self.conversations:
            raise KnobError(
                f"{self.task_name}: turns={list(self.knobs.turns)} needs persona-bench run, which "
                "holds the conversations first; plain lm_eval asks everything at once, before any "
                "reply is there"
            )

    def _check_room(self) -> None:
        """Refuses prompts that the backend would cut from the left: there stands the persona."""
        self.check_fits([self._whole_text(each) for each in self.instances])

    def check_fits(self, texts: Sequence[str], replies: int = 0) -> None:
        """Whether prompts, the tokens of replies to come and the response fit the context."""
        room = getattr(self._lm, "max_length", None)
        if not isinstance(room, int) or not getattr(self._lm, "tokenized_requests", True):
            return
        prompts = sorted(texts, key=len)[-LONGEST:]
        counts = [count for count in map(self._tokens, prompts) if count is not None]
        tokens, wanted = max(counts, default=0) + replies, self._max_gen_toks()
        if tokens + wanted > room:
            with_replies = f", with {self.turns} replies of up to {self.knobs.turn_tokens}"
            lower = f"--gen_kwargs max_gen_toks={max(room - tokens, 1)}"
            raise MissingPersonaError(
                f"{self.task_name}: the longest prompt has {tokens} tokens"
                f"{with_replies if replies else ''}; with {wanted} new ones it exceeds the model's "
                f"{room}, and the persona would be cut off at the left: lower it with {lower}"
                f"{' or turn_tokens in --metadata,' if replies else ''} or raise max_length in "
                "--model_args"
            )

    def _whole_text(self, instance: Instance) -> str:
        """What has to fit before anything is generated."""
        return prompt_text(instance.args[0])

    def use(self, lm: Any, apply_chat_template: bool = True) -> None:
        """Says which model renders the prompts, and whether by its chat template."""
        self._lm = lm
        self._template = self._template_name(apply_chat_template)

    def _template_name(self, apply_chat_template: bool) -> str:
        if not apply_chat_template:
            return "the prompt without a chat template"
        lm = self._lm.inner if isinstance(self._lm, CachingLM) else self._lm
        name = getattr(lm, "tokenizer_name", "") or type(lm).__name__
        return f"the chat template of {str(name).replace('__', '/')}"

    def facts(self, system_instruction: str | None) -> dict[str, Any]:
        """What can be told of a run without its model: personas, knobs, grader, versions."""
        personas = self.knobs.choose_personas(self.benchmark)
        record: dict[str, Any] = {
            "version": persona_bench.__version__,
            "versions": versions(),
            "grader": self.benchmark.grader,
            "judged": self.benchmark.judged,
            **self.knobs.record(),
            "persona_set_name": personas.name,
            "persona_set_version": personas.version,
            "personas": self.personas,
            "personas_fingerprint": personas.fingerprint,
            "system_instruction": system_instruction or "",
        }
        if self.turns and self.conversations:  # an unfinished run's are not known
            talks = self.conversations.values()
            record["conversations"] = {
                "held": len(talks),
                "lost": sum(bool(each.lost(self.turns)) for each in talks),
                "cut_off": sum(sum(each.cut_off[: self.turns]) for each in talks),
            }
        given = self.knobs.training
        if training := given.model_dump() if given else training_of(self.config.metadata or {}):
            record["training"] = training
        if self.benchmark.record:
            record |= self.benchmark.record(list(dict.fromkeys(self.dataset["test"]["question"])))
        if self.knobs.design is not None:
            test = self.dataset["test"]
            pairs = frozenset(zip(test["question"], test["persona"], strict=True))
            record["design_asked"] = design_record(pairs)
        return record

    def _record(
        self, chat_template: Callable[..., Any] | None, system_instruction: str | None
    ) -> None:
        """Writes what was done into the configuration that lm-eval saves with the results."""
        record = self.facts(system_instruction)
        record["chat_template"] = chat_template is not None
        if chat_template is None:
            log.warning(
                "%s: without --apply_chat_template the persona is plain text before the "
                "question: this measures a text completion, not a persona in the system message. "
                "Nor can it be seen which responses were cut off, or whether prompts are too long",
                self.task_name,
            )
        else:
            facts = template_facts(chat_template)
            record["template_system_role"] = facts.system_role
            record["default_system"] = facts.default_system
            if prints_date(self._lm):
                dated = dated_template(self._lm)
                record["chat_dates"] = [str(dated.day if dated else today())]
                with on_fixed_day(self._lm):  # by which runs of two days are told to be alike
                    record["default_system_undated"] = template_facts(chat_template).default_system
            if self.knobs.system_role == "error" and facts.system_role in ("folded", "dropped"):
                raise MissingPersonaError(
                    f"{self._template} has no system message of its own (it is "
                    f"{facts.system_role}), and system_role is 'error': use 'native' or 'merge'"
                )
        if isinstance(self._lm, CachingLM) and self._lm.backend.tells_finish:
            record["truncation"] = "by finish reason"
        else:
            counted = self._tokens("a") is not None
            record["truncation"] = "by count of tokens" if counted else "not seen"
        if chat_template is not None and record["truncation"] == "not seen":
            log.warning(
                "%s: this backend does not say which responses were cut off: one without a "
                "stated answer is graded by its last number, and is never 'truncated'",
                self.task_name,
            )
        self.config.metadata = {**(self.config.metadata or {}), "persona_bench": record}


def model_of(chat_template: Callable[..., Any] | None) -> Any:
    """The model whose method lm-eval gives a task to render prompts with; None without one."""
    return getattr(chat_template, "__self__", None)


def cell_of(doc: Mapping[str, Any]) -> Cell:
    """Question, persona and sample of a document."""
    return doc["question"], doc["persona"], int(doc["sample"])
