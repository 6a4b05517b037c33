"""What a run would ask, and what of it is done: with the tokenizer, without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_bench.harness.backends.request import Request
from persona_bench.harness.caching_lm import request_of
from persona_bench.harness.chat_date import dated_template, first_date, pin_date
from persona_bench.harness.conversations import NAME, Reply, begin, check_room, hold
from persona_bench.harness.fingerprint import FingerprintError, fingerprint, is_api
from persona_bench.harness.notes import parts_of
from persona_bench.harness.preflight import check_chat_template, load
from persona_bench.harness.run import Asked, check_kinds, generations, load_tasks, multiturn
from persona_bench.harness.store import RecordLog


@dataclass(frozen=True)
class TaskPlan:
    """What one model would be asked in one task.

    Attributes:
        task: Its name.
        prompts: How many responses the results would have.
        done: How many of them are in the store; None where the model can't be told.
        prompt_tokens: Model tokens of the prompts that are not done; None where only
            the server knows.
        most_tokens: The most that could be generated for them.
        note: What could not be found out, and why.
    """

    task: str
    prompts: int
    done: int | None
    prompt_tokens: int | None
    most_tokens: int
    note: str = ""


def plan_run(
    model: str,
    model_args: Mapping[str, Any],
    asked: Sequence[Asked],
    store: Path,
    *,
    seed: int = 1234,
    limit: float | None = None,
    confirm_run_unsafe_code: bool = False,
    apply_chat_template: bool = True,
    system_instruction: str | None = None,
    fewshot_as_multiturn: bool | None = None,
) -> list[TaskPlan]:
    """Renders every prompt as the run would, and looks it up in the store.

    Args: As `harness.run.Session.run`.

    Raises:
        RunError, KnobError, MissingPersonaError, ...: as the run itself would.
    """
    tasks = load_tasks(
        asked, model_args, limit=limit, confirm_run_unsafe_code=confirm_run_unsafe_code
    )
    if apply_chat_template:
        check_chat_template(model, model_args)
    lm, note = _renderer(model, model_args), ""
    pin_date(lm, first_date(store, record=False))
    dated = dated_template(lm)
    try:
        identity = fingerprint(model, model_args)
        record_log = generations(store, identity)
    except FingerprintError as error:
        identity, record_log, note = None, None, str(error)
    plans = []
    parts = [part for each in tasks for part in parts_of(each)]
    check_kinds(parts, model)
    digest, undated = identity.digest if identity else "", dated.undated if dated else None

    def requested(instance: Any, repeat: int = 0) -> Request:
        return request_of(instance, digest, seed, 256, repeat, undated=undated)

    if talking := [task for task in parts if task.turns]:
        talks = begin(talking, system_instruction, limit)
        as_turns = multiturn(fewshot_as_multiturn, apply_chat_template)
        for task in talking:
            check_room(task, lm, system_instruction, as_turns)
        hold(
            talks, lm, lambda requests: _stored([requested(each) for each in requests], record_log)
        )
        rounds, done = sum(each.rounds for each in talks), sum(len(each.replies) for each in talks)
        most = sum(
            (each.rounds - len(each.replies)) * each.arguments["max_gen_toks"] for each in talks
        )
        known = done if record_log is not None else None
        plans.append(TaskPlan(NAME, rounds, known, None, most, note))
    for task in parts:
        task.set_fewshot_seed(seed)
        task.build_all_requests(
            limit=int(limit) if limit and limit >= 1 else limit,
            rank=0,
            world_size=1,
            system_instruction=system_instruction,
            apply_chat_template=apply_chat_template,
            fewshot_as_multiturn=multiturn(fewshot_as_multiturn, apply_chat_template),
            chat_template=lm.apply_chat_template if apply_chat_template else None,
            tokenizer_name="",
        )
        requests = {
            request.key: request
            for instance in task.instances
            for repeat in range(instance.repeats or 1)
            for request in [requested(instance, repeat)]
        }
        todo = [
            each for key, each in requests.items() if record_log is None or key not in record_log
        ]
        keys = [each for each in requests if record_log is not None and each in record_log]
        counted = [_tokens(lm, each.text) for each in todo]
        plans.append(
            TaskPlan(
                task=task.task_name,
                prompts=len(requests),
                done=len(keys) if record_log is not None else None,
                prompt_tokens=None if None in counted else sum(c for c in counted if c),
                most_tokens=sum(int(each.gen_kwargs.get("max_gen_toks", 0)) for each in todo),
                note=note,
            )
        )
    return plans


def _stored(requests: Sequence[Request], record_log: RecordLog | None) -> list[Reply]:
    """The replies that are in the store."""
    found = record_log.get(each.key for each in requests) if record_log is not None else {}
    records = [found.get(each.key) for each in requests]
    return [(each["response"], each.get("finish", ""), "") if each else None for each in records]


def _tokens(lm: Any, text: str) -> int | None:
    tokenizer = getattr(lm, "tokenizer", None)
    if tokenizer is None:
        return None
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _renderer(model: str, model_args: Mapping[str, Any]) -> Any:
    """An lm-eval model that renders prompts and can do nothing else."""
    from lm_eval.api.registry import get_model

    kind: Any = get_model(model)
    if is_api(model, model_args):
        return kind.create_from_arg_obj(dict(model_args), {"batch_size": 1})
    from lm_eval.models.utils import resolve_max_length

    pretrained = model_args["pretrained"]
    lm = object.__new__(kind)  # with the tokenizer and the template, without the weights
    lm.tokenizer = load("AutoTokenizer", model_args.get("tokenizer") or pretrained, model_args)
    lm.add_bos_token = model_args.get("add_bos_token")
    lm.custom_prefix_token_id = None
    given = model_args.get("max_length") or model_args.get("max_model_len")
    config = load("AutoConfig", pretrained, model_args)
    lm._max_length = int(given) if given else resolve_max_length(config, lm.tokenizer, default=2048)
    lm.chat_template_args = dict(model_args.get("chat_template_args") or {})
    lm.enable_thinking = model_args.get("enable_thinking")
    lm.hf_chat_template = None
    if model != "vllm" and lm.enable_thinking is not None:
        lm.chat_template_args["enable_thinking"] = lm.enable_thinking
    return lm
