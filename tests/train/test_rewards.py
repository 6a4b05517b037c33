"""The reward: what is right, what gives no signal, and how much of a persona a response tells."""

from __future__ import annotations

import csv
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from persona_bench.benchmarks import arithmetic
from persona_bench.benchmarks.base import Grader
from persona_bench.grading import Verdict
from persona_bench.train.config import Reward as Settings
from persona_bench.train.config import TrainError
from persona_bench.train.information import Information
from persona_bench.train.logs import LOG, PERSONAS, Logs, append, by_persona
from persona_bench.train.rewards import Reward, Rewarded, graded

END = 2


def by_word(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    """A grader that any test can foresee."""
    found = []
    for response, gold, cut in zip(responses, golds, truncated, strict=True):
        if cut:
            found.append(Verdict("wrong", "truncated"))
        elif "odd" in response:
            found.append(Verdict("unscored", "timeout"))
        elif gold in response:
            found.append(Verdict("correct", "", gold))
        else:
            found.append(Verdict("wrong", "wrong_answer"))
    return found


def told(*values: float) -> Callable[[list[str], list[str], list[str]], list[float]]:
    return lambda texts, problems, personas: list(values)


def rewarded(
    reward: Reward,
    texts: Sequence[str],
    answers: Sequence[str] | None = None,
    ids: Sequence[list[int]] | None = None,
    personas: Sequence[str] | None = None,
) -> list[float | None]:
    """As TRL calls it, with more columns than it needs."""
    reward.ends = frozenset({END})
    return reward(
        prompts=[[{"role": "user", "content": "?"}]] * len(texts),
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completion_ids=list(ids or [[5, END]] * len(texts)),
        answer=list(answers or ["17"] * len(texts)),
        problem=["?"] * len(texts),
        persona=list(personas or ["none"] * len(texts)),
        epoch=[0] * len(texts),
        trainer_state=None,
    )


# ---------------------------------------------------------------------- one completion


def test_right_is_one_wrong_is_nothing_and_unscored_gives_no_signal() -> None:
    reward = Reward(by_word, Settings())
    assert rewarded(reward, ["17", "18", "odd 17"]) == [1.0, 0.0, None]
    assert rewarded(reward, ["17", "18"], answers=["18", "18"]) == [0.0, 1.0]


def test_the_reward_is_the_benchmarks_own_grader() -> None:
    reward = Reward(arithmetic.BENCHMARK.grade, Settings())
    assert rewarded(reward, ["Arr, \\boxed{17}", "\\boxed{18}", "I'd say 17."]) == [1.0, 0.0, 1.0]


def test_a_completion_that_no_ending_token_ends_was_cut_off() -> None:
    reward = Reward(by_word, Settings())
    ids = [[5, END], [5, 6], [END, 5], [], [END]]
    assert rewarded(reward, ["17"] * 5, ids=ids) == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert [each.verdict.reason for each in reward.seen] == [
        "",
        "truncated",
        "truncated",
        "truncated",
        "",
    ]


def test_form_and_information_are_added_by_their_weights() -> None:
    settings = Settings(format_weight=0.25, information_weight=0.5)
    reward = Reward(by_word, settings, told(0.2, 0.4, -0.6, 0.0))
    texts = ["\\boxed{17}", "17", "\\boxed{18}", "18"]
    found = rewarded(reward, texts, personas=["pirate"] * 4)
    assert found == pytest.approx([1 + 0.25 + 0.1, 1 + 0.2, 0.25, 0.0])
    assert [each.information for each in reward.seen] == [0.2, 0.4, -0.6, 0.0]


def test_information_is_capped_so_that_a_right_answer_is_always_worth_more() -> None:
    reward = Reward(by_word, Settings(information_weight=1), told(9.0, -9.0, 9.0))
    assert rewarded(reward, ["17", "17", "18"], personas=["pirate"] * 3) == [1.5, 0.5, 0.0]


def test_a_right_answer_without_a_persona_is_not_punished_for_having_none() -> None:
    reward = Reward(by_word, Settings(information_weight=1), told(0.1, 0.3, 0.0, 0.0))
    found = rewarded(reward, ["17"] * 3 + ["18"], personas=["pirate", "poet", "none", "none"])
    assert found == pytest.approx([1.1, 1.3, 1.2, 0.0])
    assert found[2] == pytest.approx(sum(map(float, found[:2])) / 2)  # no advantage either way


def test_a_grader_that_fails_on_every_completion_stops_the_run() -> None:
    def broken(*_: Any, **__: Any) -> list[Verdict]:
        raise OSError("no such program")

    with pytest.raises(TrainError, match="failed on every completion"):
        rewarded(Reward(broken, Settings()), ["17", "18"])


@pytest.mark.parametrize(("tokens", "expected"), [(6, 1.0), (7, 0.75), (8, 0.5), (10, 0.0)])
def test_a_long_completion_loses_reward_before_it_is_cut_off(tokens: int, expected: float) -> None:
    """Limit 10, buffer 4: full reward up to 6 tokens, 1 less at the limit."""
    reward = Reward(by_word, Settings(overlong_buffer=4))
    reward.longest = 10
    ids = [[5] * (tokens - 1) + [END]]
    assert rewarded(reward, ["17"], ids=ids) == [pytest.approx(expected)]


def test_weights_of_nothing_add_nothing() -> None:
    reward = Reward(by_word, Settings(), told(0.9, 0.9))
    assert rewarded(reward, ["\\boxed{17}", "\\boxed{18}"]) == [1.0, 0.0]


def test_an_unscored_completion_gets_nothing_for_its_form() -> None:
    settings = Settings(format_weight=0.25, information_weight=0.5)
    reward = Reward(by_word, settings, told(0.9))
    assert rewarded(reward, ["odd \\boxed{17}"]) == [None]
    assert reward.seen[0].reward is None


def test_every_rewarded_completion_is_kept_for_the_logs() -> None:
    reward = Reward(by_word, Settings(format_weight=0.5))
    ids = [[5, 6, END], [5, END], [END]]
    rewarded(reward, ["\\boxed{17}", "18", "odd"], ids=ids, personas=["bard", "none", "bard"])
    assert reward.seen == [
        Rewarded("bard", Verdict("correct", "", "17"), 1.5, None, 3, "", "?", "\\boxed{17}", "17"),
        Rewarded("none", Verdict("wrong", "wrong_answer"), 0.0, None, 2, "", "?", "18", "17"),
        Rewarded("bard", Verdict("unscored", "timeout"), None, None, 1, "", "?", "odd", "17"),
    ]
    rewarded(reward, ["17"])
    assert len(reward.seen) == 4


# ---------------------------------------------------------------------- graders that fail


def test_a_response_that_the_grader_cannot_take_is_lost_alone() -> None:
    def touchy(
        responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
    ) -> list[Verdict]:
        if any("poison" in response for response in responses):
            raise ValueError("no")
        return by_word(responses, golds, truncated=truncated)

    reward = Reward(touchy, Settings(format_weight=0.5))
    found = rewarded(
        reward, ["17", "poison \\boxed{17}", "18", "17"], ids=[[END], [END], [END], [5]]
    )
    assert found == [1.0, None, 0.0, 0.0]
    assert [each.verdict.reason for each in reward.seen] == [
        "",
        "grader_error",
        "wrong_answer",
        "truncated",
    ]


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a hanging grader waits for, so that no test leaves one behind."""
    event = threading.Event()
    yield event
    event.set()


def hanging(release: threading.Event, hangs: Callable[[int], bool]) -> Grader:
    calls = iter(range(100))

    def grade(
        responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
    ) -> list[Verdict]:
        if hangs(next(calls)):
            release.wait(30)
        return by_word(responses, golds, truncated=truncated)

    return grade


def test_a_grader_that_hangs_loses_the_batch_in_time_and_the_next_one_counts(
    release: threading.Event,
) -> None:
    reward = Reward(hanging(release, lambda call: call == 0), Settings(timeout=0.3))
    start = time.monotonic()
    assert rewarded(reward, ["17", "18"]) == [None, None]
    assert 0.3 <= time.monotonic() - start < 3
    assert [each.verdict for each in reward.seen] == [Verdict("unscored", "timeout")] * 2
    assert rewarded(reward, ["17", "18"]) == [1.0, 0.0]


def test_the_time_is_for_all_completions_when_they_are_graded_alone(
    release: threading.Event,
) -> None:
    def grade(
        responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
    ) -> list[Verdict]:
        if len(responses) > 1:
            raise ValueError("no")
        release.wait(30)
        return by_word(responses, golds, truncated=truncated)

    start = time.monotonic()
    verdicts = graded(grade, ["17"] * 10, ["17"] * 10, [False] * 10, 0.3)
    assert [verdict.verdict for verdict in verdicts] == ["unscored"] * 10
    assert time.monotonic() - start < 2


# ---------------------------------------------------------------------- information

WORDS = [
    *("<pad>", "<unk>", "system", "user", "assistant", ":", "arr", "matey", "you", "are", "a"),
    *("bard", "who", "sings", "in", "verse", "of", "stern", "judges", "what", "is", "two", "plus"),
    *("three", "four", "it", "five", "seas", "under", "the", "sun", "moon"),
]
PROMPTS = {
    "pirate": "arr matey arr",
    "bard": "you are a bard who sings in verse of the sun",
    "judge": "stern judges",
    "sailor": "seas under the moon",
}


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    made.chat_template = (
        "{% for m in messages %}{{ m.role }} : {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant : {% endif %}"
    )
    return made


def tiny(kind: str) -> Any:
    """Weights wide enough that a persona matters; `gpt2` knows places absolutely."""
    torch.manual_seed(0)
    size = len(WORDS)
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=size,
                n_positions=64,
                n_embd=32,
                n_layer=2,
                n_head=4,
                initializer_range=0.5,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.3,
        )
    )


def chat(persona: str, problem: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": persona}, {"role": "user", "content": problem}]


def information(kind: str = "llama", **more: Any) -> Information:
    settings = {"others": 3, "seed": 0, **more}
    return Information(tiny(kind).eval(), tokenizer(), PROMPTS, chat, **settings)


TEXTS = ["arr it is five", "verse in verse of five seas under the sun", "five", "what is two"]
PROBLEMS = ["what is two plus three", "two plus two", "what is three plus three plus four", "two"]
NAMES = ["pirate", "bard", "none", "judge"]


def likelihood(model: Any, persona: str, problem: str, text: str) -> float:
    """Of one sequence by itself, without padding."""
    words = tokenizer()
    before = f"system : {PROMPTS[persona]} user : {problem} assistant :".split()
    given = words.convert_tokens_to_ids(before)
    whole = given + words.convert_tokens_to_ids(text.split())
    with torch.no_grad():
        logs = torch.log_softmax(model.eval()(torch.tensor([whole])).logits[0], -1)
    return sum(float(logs[place - 1, whole[place]]) for place in range(len(given), len(whole)))


def by_hand(model: Any, persona: str, others: Sequence[str], problem: str, text: str) -> float:
    own = likelihood(model, persona, problem, text)
    rest = [math.exp(likelihood(model, other, problem, text)) for other in others]
    return (own - math.log(sum(rest) / len(rest))) / len(text.split())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_information_is_the_formula_over_likelihoods_taken_one_at_a_time(kind: str) -> None:
    model = tiny(kind)
    expected = [
        by_hand(model, name, [other for other in PROMPTS if other != name], problem, text)
        if name != "none"
        else 0.0
        for text, problem, name in zip(TEXTS, PROBLEMS, NAMES, strict=True)
    ]
    assert min(abs(value) for value in expected if value) > 0.01  # or nothing were compared
    found = information(kind)(TEXTS, PROBLEMS, NAMES)
    assert found == pytest.approx(expected, abs=1e-4)
    assert found[2] == 0.0


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_size_of_a_batch_changes_nothing(kind: str) -> None:
    once = information(kind, batch_size=100)(TEXTS, PROBLEMS, NAMES)
    for batch_size in (1, 3):
        found = information(kind, batch_size=batch_size)(TEXTS, PROBLEMS, NAMES)
        assert found == pytest.approx(once, abs=1e-4)


def test_a_draw_of_others_is_by_seed_question_and_persona() -> None:
    model, many = tiny("llama"), [f"two plus {word}" for word in ("two", "three", "four", "five")]
    texts, names = ["arr it is five"] * 4, ["pirate"] * 4

    def drawn(seed: int) -> list[str]:
        found = []
        for value, problem in zip(
            information(others=1, seed=seed)(texts, many, names), many, strict=True
        ):
            near = {
                other: abs(value - by_hand(model, "pirate", [other], problem, texts[0]))
                for other in PROMPTS
            }
            del near["pirate"]
            closest = min(near, key=lambda other: near[other])
            assert near[closest] < 1e-4
            found.append(closest)
        return found

    assert drawn(0) == drawn(0)
    draws = [drawn(seed) for seed in range(3)]
    assert len({tuple(draw) for draw in draws}) > 1
    assert any(len(set(draw)) > 1 for draw in draws)
    # the same whatever else is in the batch
    alone = information(others=1)(texts[2:3], many[2:3], names[2:3])
    assert alone == pytest.approx(information(others=1)(texts, many, names)[2:3], abs=1e-4)


def test_information_is_zero_without_a_persona_or_text() -> None:
    assert information()(["five", "it is"], ["two", "two"], ["none", "none"]) == [0.0, 0.0]
    assert information()(["", "five"], ["two", "two"], ["bard", "none"]) == [0.0, 0.0]
    alone = Information(tiny("llama"), tokenizer(), {"bard": "verse"}, chat, others=3, seed=0)
    assert alone(["five"], ["two"], ["bard"]) == [0.0]


# ---------------------------------------------------------------------- logs

RIGHT, WRONG, LOST = Verdict("correct", ""), Verdict("wrong", "no_answer"), Verdict("unscored", "x")


def test_by_persona_counts_what_one_counts_by_hand() -> None:
    seen = [
        Rewarded("bard", RIGHT, 1.25, None, 10),
        Rewarded("none", WRONG, 0.0, None, 4),
        Rewarded("bard", WRONG, 0.25, None, 20),
        Rewarded("bard", LOST, None, None, 60),
        Rewarded("bard", WRONG, 0.0, None, 30),
        Rewarded("judge", LOST, None, None, 7),
    ]
    random.Random(0).shuffle(seen)
    names = ("step", "persona", "completions", "accuracy", "unscored", "reward", "tokens")
    assert by_persona(seen, 5) == [
        dict(zip(names, row, strict=True))
        for row in [
            (5, "bard", 4, 1 / 3, 1, 0.5, 30),
            (5, "judge", 1, "", 1, "", 7),
            (5, "none", 1, 0.0, 0, 0.0, 4),
        ]
    ]
    assert by_persona([], 5) == []


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_column_that_comes_later_is_added_to_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    append(path, [])
    assert not path.exists()
    append(path, [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4, "kl": 3}])
    append(path, [{"loss": 0.3, "step": 3}])
    append(path, [{"step": 4, "reward": 1}])
    assert table(path) == [
        {"step": "1", "loss": "0.5", "kl": "", "reward": ""},
        {"step": "2", "loss": "0.4", "kl": "3", "reward": ""},
        {"step": "3", "loss": "0.3", "kl": "", "reward": ""},
        {"step": "4", "loss": "", "kl": "", "reward": "1"},
    ]


def test_commas_quotes_and_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    odd = {"a,b": 'he said "no"', "c": "one\ntwo", "d": "x,y"}
    append(path, [odd])
    append(path, [odd])
    append(path, [{"new": "é"}])
    blank = {**dict.fromkeys(odd, ""), "new": "é"}
    assert table(path) == [{**odd, "new": ""}] * 2 + [blank]


def logged(logs: Logs, step: int, **values: Any) -> None:
    state: Any = SimpleNamespace(is_world_process_zero=True, global_step=step)
    logs.on_log(SimpleNamespace(), state, SimpleNamespace(), values)  # type: ignore[arg-type]


def test_a_run_that_goes_on_writes_on_from_its_step(tmp_path: Path) -> None:
    reward = Reward(by_word, Settings())
    logs = Logs(tmp_path, reward)
    for step in (1, 2, 3):
        rewarded(reward, ["17", "18"], personas=["bard", "none"])
        logged(logs, step, loss=step / 10)
        assert reward.seen == []
    logged(logs, 3, train_runtime=9.0)
    logged(logs, 3, eval_loss=9.0)
    state: Any = SimpleNamespace(is_world_process_zero=True, global_step=2)
    logs.on_train_begin(SimpleNamespace(), state, SimpleNamespace())  # type: ignore[arg-type]
    logged(logs, 3, loss=0.7)
    assert table(tmp_path / LOG) == [
        {"step": "1", "loss": "0.1"},
        {"step": "2", "loss": "0.2"},
        {"step": "3", "loss": "0.7"},
    ]
    assert [
        (row["step"], row["persona"], row["accuracy"]) for row in table(tmp_path / PERSONAS)
    ] == [
        (step, persona, accuracy)
        for step in ("1", "2")
        for persona, accuracy in (("bard", "1.0"), ("none", "0.0"))
    ]


def test_a_run_that_starts_anew_leaves_no_old_rows(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logged(logs, 5, loss=0.1)
    state: Any = SimpleNamespace(is_world_process_zero=True, global_step=0)
    logs.on_train_begin(SimpleNamespace(), state, SimpleNamespace())  # type: ignore[arg-type]
    assert not (tmp_path / LOG).exists()
