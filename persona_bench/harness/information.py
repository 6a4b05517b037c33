"""Log-likelihoods of stored responses under every persona, for persona information.

A response is put after the prompt that the task would have rendered with another persona, and the
model says how likely it is there. lm-eval's `loglikelihood` requests do it, so that the hf and
vllm backends both can. Every log-likelihood is in the store as soon as its batch is done:

    store/likelihoods/<model's fingerprint>/<time>-<host>-<process>.jsonl
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from tqdm import tqdm

from persona_bench.harness.backends.base import Backend, is_one_of
from persona_bench.harness.backends.request import Generated, Request
from persona_bench.harness.caching_lm import CachingLM
from persona_bench.harness.fingerprint import is_api
from persona_bench.harness.run import RunError, Session
from persona_bench.harness.store import RecordLog
from persona_bench.rendering import check_persona, merged
from persona_bench.results.outcomes import read_responses
from persona_bench.results.samples import Samples
from persona_bench.scoring.information import COLUMNS

TOGETHER = 2048
"""Requests in one call of lm-eval's: what vLLM loses when it is killed; hf loses a batch."""


class LikelihoodError(RunError):
    """Log-likelihoods that can't be had; one sentence says why."""


@dataclass(frozen=True)
class Likelihoods:
    """The log-likelihoods of one samples file, and what they are of.

    Attributes:
        table: A row for each response and candidate persona, with the columns of
            `scoring.information.COLUMNS`; log-likelihoods in nats, of the whole response without
            the token that ends it.
        model: What the fingerprint of the model was made of.
        empty: Responses without text, left out.
        missing: Responses that an API error left out.
        uneven: Responses left out because a tokenizer cuts them into another number of tokens
            after another persona's prompt.
        computed: Log-likelihoods that were computed now; the others were in the store.
        others: Candidates of each response beside its own persona; None: all of the run.
        seed: Seed of their draw.
        notes: What else is to be known, in sentences without a full stop.
    """

    table: pd.DataFrame
    model: dict[str, Any]
    empty: int
    missing: int
    uneven: int
    computed: int
    others: int | None
    seed: int
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As plain data for the results file; the table has a file of its own."""
        return {
            "model": self.model,
            "empty": self.empty,
            "missing": self.missing,
            "uneven": self.uneven,
            "others": self.others,
            "seed": self.seed,
            "notes": list(self.notes),
        }


def check_backend(backend: str, model_args: Mapping[str, Any]) -> None:
    """Whether a backend can say how likely a given text is.

    Raises:
        LikelihoodError: a chat endpoint.
    """
    completions = backend.endswith("completions") and "chat" not in backend
    if is_api(backend, model_args) and not completions:
        raise LikelihoodError(
            f"{backend} is a chat endpoint, which tells no likelihood of a text that it did not "
            "write: give the model itself with --model hf or vllm and --model-args pretrained=..."
        )


def likelihoods(
    samples: Samples, session: Session, *, others: int | None = None, seed: int = 0
) -> Likelihoods:
    """The log-likelihood of every response under its own persona and under others.

    Args:
        samples: The responses of one model to any persona task.
        session: The model, and the store; what is in there is not computed again.
        others: So many other candidates a response, drawn by `seed`; None takes all of the run.
        seed: Seed of that draw.

    Raises:
        LikelihoodError: a backend that can't; a session without a store; a prompt that can't be
            made again; prompt and response longer than the model reads.
        MissingPersonaError: the chat template loses a persona.
        OutcomesError: a samples file that is damaged.
        StoreError, FingerprintError: see there; what was done is kept.
    """
    check_backend(session.model, session.model_args)
    if session.store is None:
        raise LikelihoodError(
            "log-likelihoods are kept in the store: open the model with keep=True"
        )
    if others is not None and others < 1:
        raise LikelihoodError(f"others is {others}, but at least 1 other persona is needed")
    rows = read_responses(samples, asked=True)
    rows = rows[rows["kind"] != "placebo"]  # no persona could leave a trace of one
    given = rows[rows["response"].notna()]
    some = given[given["response"].str.strip() != ""]
    if some["persona"].nunique() == 0 or rows["persona"].nunique() < 2:
        raise LikelihoodError(
            f"{samples.file}: log-likelihoods are compared between personas: responses with text, "
            "in a run of two personas or more, are needed"
        )
    lm = session.lm
    inner = lm.inner if isinstance(lm, CachingLM) else None
    if inner is None or not isinstance(inner, TemplateLM) or inner.tokenizer is None:
        raise LikelihoodError(f"the backend {session.model} has no tokenizer here: use hf or vllm")
    if lm.world_size > 1:
        raise LikelihoodError(
            "log-likelihoods are computed in one process: start it without torchrun"
        )
    asked = _Asked(samples, lm, rows)
    requests = [
        asked.request(row, candidate)
        for row in some.to_dict("records")
        for candidate in _candidates(row, list(asked.texts), others, seed)
    ]
    record_log = _record_log(session.store, lm)
    try:
        computed = _compute(requests, lm, record_log, session)
        table, uneven = _table(requests, record_log)
    finally:
        record_log.close()
    return Likelihoods(
        table=table,
        model=dict(lm.record_log.about["model"]),
        empty=len(given) - len(some),
        missing=len(rows) - len(given),
        uneven=uneven,
        computed=computed,
        others=others,
        seed=seed,
        notes=tuple(asked.notes(samples, session)),
    )


# ---------------------------------------------------------------------- what is asked
class _Asked:
    """The prompts of a run, with any of its personas in them."""

    def __init__(self, samples: Samples, lm: CachingLM, rows: pd.DataFrame) -> None:
        facts = samples.facts
        self.task, self.lm = samples.task, lm
        self.merged = facts.get("system_role") == "merge"
        self.instruction = str(facts.get("system_instruction") or "")
        self.chat = bool(facts.get("chat_template", True))
        self.template = f"the chat template of {lm.tokenizer_name.replace('__', '/')}"
        worded = zip(rows["persona"], rows["wording"], rows["persona_prompt"], strict=True)
        self.texts: dict[str, dict[int, str]] = {}
        for persona, wording, text in worded:
            self.texts.setdefault(persona, {})[wording] = text
        talks = zip(rows["persona"], rows["script"], rows["conversation"], strict=True)
        self.conversations = {(who, script): said for who, script, said in talks if said}
        self.others_than_asked = 0
        self._contexts: dict[tuple[str, str, str], str] = {}

    def request(self, row: Mapping[Any, Any], candidate: str) -> Request:
        """One response under one candidate."""
        context = self._context(row, candidate)
        if candidate == row["persona"] and row["context"] not in ("", context):
            self.others_than_asked += 1
        parts = "\0".join(["loglikelihood", self.lm.fingerprint, context, row["response"]])
        cell = {name: row[name] for name in ("question", "persona", "sample")}
        doc = {"task": self.task, **cell, "candidate": candidate}
        return Request(
            key=hashlib.sha256(parts.encode(errors="surrogatepass")).hexdigest(),
            context=context,
            text=context,
            gen_kwargs={},
            given={},
            seed=None,
            instance=Instance("loglikelihood", doc, (context, row["response"]), 0),
            continuation=row["response"],
        )

    def notes(self, samples: Samples, session: Session) -> Iterator[str]:
        """Where this is not quite what the run asked."""
        if self.others_than_asked:
            yield (
                f"{self.others_than_asked:,} prompts are not word for word those of the run: "
                "another chat template, or one that holds the date; an endpoint renders its own"
            )
        settings = samples.results.get("config", {}).get("model_args")
        for name in ("pretrained", "peft", "delta", "revision"):
            if not isinstance(settings, dict):
                return
            ran, value = settings.get(name), session.model_args.get(name)
            if Path(str(ran)).name != Path(str(value)).name:  # a folder may have been moved
                yield (
                    f"the responses are by a model with {name}={ran}, the likelihoods by one with "
                    f"{name}={value}"
                )

    def _context(self, row: Mapping[Any, Any], candidate: str) -> str:
        """The prompt of a row under a candidate, in the row's wording where that exists."""
        texts = self.texts[candidate]
        text = texts.get(row["wording"], texts[max(texts)])
        user, said = self._user(row), self._conversation(row, candidate)
        if (context := self._contexts.get((text, user, said))) is None:
            context = self._rendered(candidate, text, user, said)
            self._contexts[text, user, said] = context
        return context

    def _conversation(self, row: Mapping[Any, Any], candidate: str) -> str:
        """What the task would have put before the question: the candidate's own conversation."""
        if not row["turns"]:
            return ""
        if (found := self.conversations.get((candidate, row["script"]))) is None:
            raise LikelihoodError(
                f"{self.task}: {candidate!r} has no conversation by script {row['script']}, as "
                f"{row['persona']!r} has before {row['question']!r}: run all personas on every "
                "question"
            )
        return str(found)

    def _user(self, row: Mapping[Any, Any]) -> str:
        """The user message without a persona, as `documents.cross` made it."""
        own, prompt = row["persona_prompt"], str(row["prompt"])
        if not self.merged or not own or row["turns"]:
            return prompt
        if not prompt.startswith(merged(own, "")):
            raise LikelihoodError(
                f"{self.task}: the prompt of {row['question']!r} under {row['persona']!r} does not "
                "begin with its persona, though it was run with system_role=merge: run it again "
                "with this version"
            )
        return prompt.removeprefix(merged(own, ""))

    def _rendered(self, candidate: str, persona: str, user: str, conversation: str) -> str:
        """As `tasks.PersonaTask.fewshot_context` and lm-eval render it."""
        merge = self.merged and persona
        system = "\n\n".join(text for text in (self.instruction, "" if merge else persona) if text)
        said = [*(json.loads(conversation) if conversation else []), user]
        if merge and not conversation:
            said = [merged(persona, user)]
        if not self.chat:
            return f"{system}\n\n{said[0]}" if system else said[0]
        messages = [{"role": "system", "content": system}] if system else []
        messages += [
            {"role": "assistant" if place % 2 else "user", "content": text}
            for place, text in enumerate(said)
        ]
        rendered = self.lm.apply_chat_template(messages)
        if not isinstance(rendered, str):
            raise LikelihoodError(
                f"{self.task}: this backend leaves the chat template to the server: use hf or vllm"
            )
        check_persona(rendered, persona, candidate, self.template)
        return rendered


def _cell(request: Request) -> dict[str, Any]:
    """The cell of the response, and the persona whose prompt it is put after."""
    return request.instance.doc if request.instance else {}


def _candidates(
    row: Mapping[Any, Any], personas: Sequence[str], others: int | None, seed: int
) -> list[str]:
    """The own persona and others, all or drawn; in the order of the run.

    The draw is uniform over the other personas, so that given the set of candidates each of them
    is as likely to be the own one.
    """
    rest = [persona for persona in personas if persona != row["persona"]]
    if others is not None and others < len(rest):
        named = [str(seed), *(str(row[name]) for name in ("question", "persona", "sample"))]
        rest = random.Random("\0".join(named)).sample(rest, others)
    chosen = {row["persona"], *rest}
    return [persona for persona in personas if persona in chosen]


# ---------------------------------------------------------------------- computed and stored
def _record_log(store: Path, lm: CachingLM) -> RecordLog:
    about = {
        "kind": "likelihoods",
        "fingerprint": lm.fingerprint,
        "model": lm.record_log.about["model"],
    }
    return RecordLog(store / "likelihoods" / lm.fingerprint[:16], about)


def _compute(
    requests: Sequence[Request], lm: CachingLM, record_log: RecordLog, session: Session
) -> int:
    """Asks the model for what is not in the store; returns for how many."""
    unique = {request.key: request for request in requests}
    missing = [request for request in unique.values() if request.key not in record_log]
    if missing:
        session.say(
            f"{len(unique) - len(missing):,} of {len(unique):,} log-likelihoods are in the store, "
            f"{len(missing):,} to compute"
        )
    tokens = _counted(missing, lm.inner)
    # the longest first: memory that does not suffice is found out at once, and little is padded
    missing.sort(key=lambda request: -sum(tokens[request.key]))

    def finished(request: Request, generated: Generated) -> None:
        if request.key not in record_log and generated.likelihood is not None:
            counted = {"loglikelihood": generated.likelihood[0], "tokens": tokens[request.key][1]}
            record_log.add({"key": request.key, **_cell(request), **counted})
            bar.update()

    backend = Backend(lm.inner, finished)  # hears of each batch in place of the run's own
    try:
        with tqdm(
            total=len(unique), initial=len(unique) - len(missing), desc="Log-likelihoods",
            disable=not missing,
        ) as bar:  # fmt: skip
            for start in range(0, len(missing), TOGETHER):
                backend.ask(missing[start : start + TOGETHER], disable_tqdm=True)
    finally:
        lm.inner.set_cache_hook(lm.backend)
    return len(missing)


def _counted(requests: Sequence[Request], lm: TemplateLM) -> dict[str, tuple[int, int]]:
    """Tokens of the context and of the response, as lm-eval cuts them, for each key.

    Raises:
        LikelihoodError: more than the model reads; lm-eval would cut the persona off.
    """
    # vLLM has to write a token after what it reads
    room = int(lm.max_length) - is_one_of(type(lm), "vllm_causallms", "VLLM")
    counted = {}
    for request in requests:
        context, response = (
            len(part) for part in lm._encode_pair(request.context, request.continuation)
        )
        if context + response > room:
            cell = _cell(request)
            raise LikelihoodError(
                f"the response of {cell['persona']!r} to {cell['question']!r} and the prompt of "
                f"{cell['candidate']!r} have {context + response} tokens, more than the {room} "
                "that the model reads, so that the persona would be cut off at the left: raise "
                "max_length (hf) or max_model_len (vllm) in --model-args"
            )
        counted[request.key] = context, response
    return counted


def _table(requests: Sequence[Request], record_log: RecordLog) -> tuple[pd.DataFrame, int]:
    """The tidy table, and how many responses have other tokens under another candidate."""
    records = record_log.get(request.key for request in requests)
    rows = [
        {
            **_cell(request),
            **{name: records[request.key][name] for name in ("loglikelihood", "tokens")},
        }
        for request in requests
    ]
    table = pd.DataFrame(rows, columns=["task", *COLUMNS])[list(COLUMNS)]
    response = ["persona", "question", "sample"]
    counts = table.groupby(response, sort=False)["tokens"].transform("nunique")
    uneven = table.loc[counts > 1, response].drop_duplicates()
    return table[counts == 1].reset_index(drop=True), len(uneven)
