"""Log-likelihoods of stored responses under every persona, on the real SmolLM2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_bench.harness.information import LikelihoodError, likelihoods
from persona_bench.harness.run import Asked, Session
from persona_bench.rendering import MissingPersonaError
from persona_bench.results.outcomes import read_responses
from persona_bench.results.samples import Samples, find_samples
from persona_bench.scoring.information import COLUMNS, persona_information

BATCH = 3
CELLS = 2 * 3  # questions x personas


@pytest.fixture(scope="module")
def session(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("information")
    arguments = {"pretrained": str(smollm2), "dtype": "float32"}
    with Session("hf", arguments, folder, batch_size=str(BATCH), device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def run(session: Session) -> Callable[..., Samples]:
    """A small run with these knobs; the samples that lm-eval wrote."""

    def asked(name: str, knobs: dict[str, Any], **of_run: Any) -> Samples:
        knobs = {"persona_set": "demo", "n_personas": 3, "n_questions": 2, **knobs}
        folder = session.output_path / name
        task = Asked("persona_arithmetic", knobs, {"max_gen_toks": 8})
        session.run([task], output_path=folder, **of_run)
        (samples,) = find_samples(folder)
        return samples

    return asked


@pytest.fixture(scope="module")
def samples(run: Callable[..., Samples]) -> Samples:
    return run("plain", {})


def asked_of(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the model is asked from now on."""
    found: list[Any] = []
    ask = session.lm.inner.loglikelihood

    def listening(requests: list[Any], **kwargs: Any) -> Any:
        found.extend(request.args for request in requests)
        return ask(requests, **kwargs)

    monkeypatch.setattr(session.lm.inner, "loglikelihood", listening)
    return found


def direct(model: Any, tokenizer: Any, system: str, user: str, response: str) -> tuple[float, int]:
    """The log-likelihood of the template's last line break and the response, by transformers."""
    import torch

    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    whole = tokenizer(prompt + response, return_tensors="pt").input_ids
    start = len(tokenizer(prompt.rstrip()).input_ids)
    with torch.no_grad():
        logits = torch.log_softmax(model(whole).logits[0, :-1].float(), dim=-1)
    picked = logits.gather(1, whole[0, 1:, None])[start - 1 :]
    return float(picked.sum()), len(picked)


def test_they_are_those_of_transformers_and_computed_once(
    session: Session, samples: Samples, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(session, monkeypatch)
    found = likelihoods(samples, session)
    rows = read_responses(samples, asked=True)
    assert list(found.table.columns) == list(COLUMNS)
    assert len(found.table) == CELLS * 3
    assert (found.empty, found.missing, found.uneven, found.notes) == (0, 0, 0, ())
    assert found.computed == len(asked) == len(set(asked))
    assert (found.table.groupby(["persona", "question"])["tokens"].nunique() == 1).all()

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    prompts = dict(zip(rows["persona"], rows["persona_prompt"], strict=True))
    texts = rows.set_index(["persona", "question"])
    for row in found.table.iloc[::4].to_dict("records"):
        response = texts.loc[(row["persona"], row["question"])]
        expected, tokens = direct(
            session.lm.inner.model, tokenizer, prompts[row["candidate"]],
            response["prompt"], response["response"],
        )  # fmt: skip
        assert row["loglikelihood"] == pytest.approx(expected, abs=1e-3)
        assert row["tokens"] == tokens

    scored = persona_information(found.table, resamples=100)
    assert scored.n_responses == CELLS
    assert scored.scheme == "within questions"

    again = likelihoods(samples, session)
    assert again.computed == 0
    assert len(asked) == found.computed
    assert again.table.equals(found.table)
    (record_log,) = (session.store / "likelihoods").iterdir()
    (segment,) = record_log.iterdir()
    header, first, *_ = (json.loads(line) for line in segment.read_text().splitlines())
    assert header["kind"] == "likelihoods"
    assert {"task", "question", "persona", "sample", "candidate", "tokens"} <= set(first)


def test_a_killed_run_continues(
    session: Session, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "store", tmp_path / "store")
    call, calls = session.lm.inner._model_call, []

    def killed(*args: Any, **kwargs: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return call(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(session.lm.inner, "_model_call", killed)
        with pytest.raises(KeyboardInterrupt):
            likelihoods(samples, session)
    asked = asked_of(session, monkeypatch)
    found = likelihoods(samples, session)
    assert found.computed == len(asked)
    (segment, _) = sorted((tmp_path / "store" / "likelihoods").rglob("*.jsonl"))
    kept = len(segment.read_text().splitlines()) - 1
    assert kept == 2 * BATCH
    assert kept + found.computed == len(set(found.table["loglikelihood"]))


def test_only_so_many_others(session: Session, samples: Samples) -> None:
    found = likelihoods(samples, session, others=1, seed=5).table
    assert len(found) == CELLS * 2
    assert (found.groupby(["persona", "question"])["candidate"].nunique() == 2).all()
    assert (found["persona"] == found["candidate"]).sum() == CELLS
    assert found.equals(likelihoods(samples, session, others=1, seed=5).table)
    drawn = [set(map(tuple, likelihoods(samples, session, others=1, seed=s).table[
        ["persona", "question", "candidate"]].to_numpy())) for s in range(4)]  # fmt: skip
    assert any(each != drawn[0] for each in drawn)
    with pytest.raises(LikelihoodError, match="at least 1 other"):
        likelihoods(samples, session, others=0)


@pytest.mark.parametrize(
    ("knobs", "of_run"),
    [
        ({"system_role": "merge"}, {"system_instruction": "Be brief."}),
        ({}, {"system_instruction": "Be brief.", "apply_chat_template": False}),
    ],
    ids=["merged", "plain text"],
)
def test_prompts_are_those_of_the_run(
    session: Session,
    run: Callable[..., Samples],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    knobs: dict[str, Any],
    of_run: dict[str, Any],
) -> None:
    samples = run(request.node.callspec.id, {**knobs, "n_questions": 1}, **of_run)
    lines = [json.loads(line) for line in samples.file.read_text().splitlines()]
    for line in lines:  # where there is no chat template this model says nothing at all
        line["resps"] = [["12 is the answer."]]
    samples.file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = asked_of(session, monkeypatch)
    found = likelihoods(samples, session)
    assert found.notes == ()  # else: the own prompts are not word for word those of the run
    rows = read_responses(samples, asked=True)
    contexts = {context for context, _ in asked}
    assert set(rows["context"]) <= contexts
    for prompt in filter(None, rows["persona_prompt"]):
        own = [context for context in contexts if prompt in context]
        assert len(own) == 1
        assert own[0].count(prompt) == 1
        assert own[0].count("Be brief.") == 1


def test_empty_responses_are_left_out_and_other_models_noted(
    session: Session, samples: Samples, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in samples.file.read_text().splitlines()]
    rows[0]["resps"] = [[" \n"]]
    rows[1]["acc"]["reason"] = "api_error"
    rows[2]["arguments"]["gen_args_0"]["arg_0"] += "Today is Monday."
    file = tmp_path / samples.file.name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (results,) = samples.file.parent.glob("results_*.json")
    told = json.loads(results.read_text())
    told["config"]["model_args"]["pretrained"] = "org/larger"
    (tmp_path / results.name).write_text(json.dumps(told))
    (other,) = find_samples(file)
    found = likelihoods(other, session)
    assert (found.empty, found.missing) == (1, 1)
    assert found.table.groupby(["persona", "question"]).ngroups == CELLS - 2
    assert "1 prompts are not word for word those of the run" in found.notes[0]
    assert "by a model with pretrained=org/larger" in found.notes[1]


def test_a_prompt_longer_than_the_context_is_refused(
    session: Session, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "store", tmp_path / "store")
    asked = asked_of(session, monkeypatch)
    monkeypatch.setattr(session.lm.inner, "_max_length", 50)
    with pytest.raises(LikelihoodError, match=r"more than the 50 .* max_length"):
        likelihoods(samples, session)
    assert asked == []
    assert not (tmp_path / "store").exists()


def test_a_template_that_drops_the_persona_is_refused(
    session: Session, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.lm, "apply_chat_template", lambda messages: messages[-1]["content"])
    with pytest.raises(MissingPersonaError, match="drops the system message"):
        likelihoods(samples, session)


def test_a_chat_endpoint_is_refused(samples: Samples, tmp_path: Path) -> None:
    arguments = {"model": "m", "base_url": "http://127.0.0.1:9/v1/chat/completions"}
    session = Session("local-chat-completions", arguments, tmp_path)
    with pytest.raises(LikelihoodError, match="is a chat endpoint, which tells no likelihood"):
        likelihoods(samples, session)


def test_likelihoods_need_a_store(samples: Samples, tmp_path: Path) -> None:
    session = Session("hf", {"pretrained": "m"}, tmp_path, keep=False)
    with pytest.raises(LikelihoodError, match="kept in the store"):
        likelihoods(samples, session)
