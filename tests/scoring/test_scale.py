"""The arithmetic of `python -m scripts.scale`, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path
from typing import NamedTuple

import pytest

from persona_bench.harness.study import read_study
from scripts import scale
from scripts.roofline import (
    JUDGES,
    MODELS,
    Engine,
    Lengths,
    Model,
    Work,
    batch_size,
    drain,
    harmonic,
    prefill_seconds,
    rate,
    step,
    times,
    unlimited_mean,
)

DOC = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
LLAMA, GEMMA = MODELS[0], MODELS[1]


class Published(NamedTuple):
    """A throughput that others measured, to hold the roofline against.

    Attributes:
        engine: What made the responses.
        model: Its shape is one of `MODELS` or `JUDGES`.
        gpu: One of `GPUS`.
        prompt, response: Mean tokens.
        rate: Output tokens/s that were measured.
    """

    engine: str
    model: Model
    gpu: str
    prompt: int
    response: int
    rate: float


# TRT: github.com/NVIDIA/TensorRT-LLM, docs/source/performance/perf-overview.md at 258c7540; the
# online serving table at infinite rate (bf16, 500 requests), and the A100 column (fp16).
# vLLM: github.com/vllm-project/vllm, pull request 7117, 24.52 to 24.74 requests/s.
TRT_14, TRT_17, VLLM = "TensorRT-LLM 0.14", "TensorRT-LLM 0.17", "vLLM 0.5.4"
LLAMA_70B = JUDGES[0]
PUBLISHED = (
    Published(TRT_14, LLAMA, "h100", 467, 256, 9420),
    Published(TRT_14, LLAMA, "h100", 202, 214, 8291),
    Published(TRT_14, LLAMA, "h100", 467, 16, 1269),
    Published(TRT_14, LLAMA, "h200", 467, 256, 10121),
    Published(TRT_14, LLAMA_70B, "h100", 467, 256, 4103),
    Published(TRT_14, LLAMA_70B, "h200", 467, 256, 4185),
    Published(TRT_17, LLAMA, "a100", 128, 2048, 5255.99),
    Published(TRT_17, LLAMA, "a100", 1000, 1000, 3786.83),
    Published(TRT_17, LLAMA, "a100", 2048, 2048, 2424.16),
    Published(VLLM, LLAMA, "h100", 256, 256, 24.6 * 256),
)


def calculated(point: Published, engine: Engine) -> float:
    """What the roofline says of a published setting, output tokens/s."""
    length = Lengths(point.response, point.response)
    work = Work("", 10**6, point.prompt, point.prompt, length)
    return rate(point.model, work, replace(engine, gpu=point.gpu))


# ------------------------------------------------------------------------- models
@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Llama-3 8B", 8.03),
        ("Gemma-3 4B", 3.88),  # 4.30 with the vision tower
        ("Gemma-3 12B", 11.77),
        ("Qwen-3 4B", 4.02),
        ("Qwen-3 8B", 8.19),
        ("Llama-3.3 70B", 70.55),
        ("Qwen-2.5 72B", 72.71),
    ],
)
def test_parameters_are_those_of_the_model_cards(name: str, billions: float) -> None:
    model = next(each for each in (*MODELS, *JUDGES) if each.name == name)
    assert model.parameters / 1e9 == pytest.approx(billions, abs=0.01)


def test_keys_and_values_of_a_sequence() -> None:
    # 2 (keys, values) x 8 heads x 128 x 2 bytes x 32 layers = 131,072 bytes a token
    assert LLAMA.kv_bytes(1000) == 131_072_000
    # 2 x 4 x 256 x 2 = 4,096 bytes a layer; 5 layers see all, 29 the last 1,024 tokens
    assert GEMMA.kv_bytes(4000) == 4096 * (5 * 4000 + 29 * 1024)
    assert GEMMA.kv_bytes(100) == 4096 * 34 * 100


# ------------------------------------------------------------------------- lengths
def test_lengths_without_a_limit_in_reach_are_exponential() -> None:
    lengths = Lengths(100, 10_000)
    assert lengths.so_far == pytest.approx(100, rel=1e-3)
    assert lengths.longest(4) == pytest.approx(100 * (1 + 1 / 2 + 1 / 3 + 1 / 4), rel=1e-3)
    assert harmonic(0) == 0
    assert harmonic(1) == pytest.approx(1, abs=0.01)


def test_lengths_all_at_the_limit() -> None:
    lengths = Lengths(512, 512)
    assert lengths.so_far == 256
    assert lengths.longest(100) == 512


def test_lengths_cut_off_at_the_limit() -> None:
    before = unlimited_mean(500, 1000)
    draws = [min(-before * log((n + 0.5) / 20_000), 1000) for n in range(20_000)]
    mean = sum(draws) / len(draws)
    assert mean == pytest.approx(500, rel=1e-3)
    square = sum(draw**2 for draw in draws) / len(draws)
    assert Lengths(500, 1000).so_far == pytest.approx(square / (2 * mean), rel=1e-3)


# ------------------------------------------------------------------------- roofline
def test_a_decoding_step() -> None:
    # H100: 3.35 TB/s x 0.7, 989.4 TFLOP/s x 0.5; Llama without its input embedding: 7,504,658,432
    one = step(LLAMA, 1000, Engine())
    assert one.weights == pytest.approx(7_504_658_432 * 2 / 2.345e12)  # 6.40 ms
    assert one.arithmetic == pytest.approx(7_504_658_432 * 2 / 494.7e12)  # 30.3 us a sequence
    assert one.attention == pytest.approx(131_072_000 / 2.345e12)  # 55.9 us a sequence
    assert one.seconds(100) == pytest.approx(6.4006e-3 + 100 * 55.894e-6 + 5e-3, rel=1e-4)
    assert one.seconds(256) == pytest.approx(256 * (30.340e-6 + 55.894e-6) + 5e-3, rel=1e-4)


def test_prefill() -> None:
    # 6,979,321,856 parameters in the layers
    seconds = prefill_seconds(LLAMA, 1e6, Engine())
    assert seconds == pytest.approx(2 * 6_979_321_856 * 1e6 / 494.7e12)  # 28.2 s


def test_the_batch_is_what_the_memory_has_room_for() -> None:
    # (80 GB x 0.9 - 4 GB - 16.06 GB) x 0.9 = 46.75 GB over 1,000 tokens of 131,072 bytes
    work = Work("", 10_000, 500, 500, Lengths(1000, 1000))
    assert work.held == 1000
    assert batch_size(LLAMA, work, Engine(max_seqs=1024)) == 356
    assert batch_size(LLAMA, work, Engine()) == 256
    assert batch_size(LLAMA, work._replace(responses=10), Engine()) == 10
    with pytest.raises(ValueError, match="does not fit"):
        batch_size(replace(JUDGES[0], gpus=1), work, Engine())


def test_one_sequence_at_a_time_takes_its_tokens_times_a_step() -> None:
    engine = Engine(max_seqs=1)
    work = Work("", 1000, 100, 0, Lengths(200, 100_000))
    seconds = 1000 * 200 * step(LLAMA, 300, engine).seconds(1)
    assert times(LLAMA, [work], engine).total == pytest.approx(seconds, rel=1e-3)
    assert rate(LLAMA, work, engine) == pytest.approx(1000 * 200 / seconds, rel=1e-3)


def test_the_drain_is_the_sum_over_those_that_are_left() -> None:
    work = Work("", 10_000, 100, 100, Lengths(200, 100_000))
    one = step(LLAMA, work.held, Engine())
    seconds, made = drain(LLAMA, work, 256, Engine())
    assert seconds == pytest.approx(sum(200 / k * one.seconds(k) for k in range(1, 257)), rel=5e-3)
    assert made == pytest.approx(256 * 200, rel=1e-3)


def test_tasks_of_one_call_end_together() -> None:
    short = Work("", 4096, 100, 100, Lengths(200, 100_000))
    long = Work("", 4096, 100, 100, Lengths(400, 100_000))
    apart = [times(LLAMA, [work], Engine()) for work in (short, long)]
    both = times(LLAMA, [short, long], Engine())
    assert both.prefill + both.decode == pytest.approx(
        sum(each.prefill + each.decode for each in apart)
    )
    assert both.ending == pytest.approx(apart[1].ending) == pytest.approx(2 * apart[0].ending, 0.1)


def test_the_ending_is_what_the_drain_takes_beyond_full_batches() -> None:
    work = Work("", 10_000, 100, 0, Lengths(200, 100_000))
    seconds = step(LLAMA, work.held, Engine()).seconds
    longer = sum(200 * (seconds(k) / k - seconds(256) / 256) for k in range(1, 257))
    assert times(LLAMA, [work], Engine()).ending == pytest.approx(longer, rel=0.02)


def test_a_small_task_shares_its_batch_with_the_others() -> None:
    small = Work("", 10, 100, 0, Lengths(200, 200))
    large = Work("", 10_000, 100, 0, Lengths(200, 200))
    step_256 = step(LLAMA, 200, Engine()).seconds(256)
    assert times(LLAMA, [small, large], Engine()).decode == pytest.approx(
        10_010 * 200 / 256 * step_256
    )
    assert times(LLAMA, [], Engine()).total == 0


def test_published_throughputs_are_near() -> None:
    ratios = [calculated(point, Engine()) / point.rate for point in PUBLISHED]
    assert all(0.7 < ratio < 1.7 for ratio in ratios)


# ------------------------------------------------------------------------- the study
def test_prompts_of_a_checkpoint() -> None:
    responses = {work.name: work.responses for work in scale.task_work(scale.Study())}
    assert responses == {
        "math500": 500 * 16,
        "aime24": 30 * 16 * 4,
        "livecodebench": 390 * 16,
        "personagym": 200 * 5 * 10,
    }


def test_further_samples_cost_the_prefill_of_the_last_block() -> None:
    aime = next(work for work in scale.task_work(scale.Study()) if work.name == "aime24")
    measured = scale.MEASURED["aime24"]
    assert aime.fresh == pytest.approx((measured.fresh + 3 * measured.again) / 4)


def test_judges_get_a_call_for_each_response() -> None:
    first, second, examples = scale.judging(scale.Study())
    assert first.work.responses == second.work.responses == 25 * 10_000
    assert examples.work.responses == 10_000
    # 577.5 tokens, five examples of 100 and a response of 250
    assert first.work.prompt == pytest.approx(577.5 + 500 + 250)


# ------------------------------------------------------------------------- the command
def test_the_costs_in_the_document_are_those_that_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scale.main([])
    printed = capsys.readouterr().out.splitlines()
    costs = DOC.read_text(encoding="utf-8").partition("## What it costs")[2]
    rows = [line for line in costs.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert not set(rows) - set(printed), "take them from `python -m scripts.scale`"


def test_the_study_file_of_the_document_is_one(tmp_path: Path) -> None:
    text = DOC.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    file = tmp_path / "study.yaml"
    file.write_text(text.replace("ORG/", "someone/"), encoding="utf-8")
    study = read_study(file)
    assert {task.task.removeprefix("persona_") for task in study.tasks} == {
        "math500",
        "aime24",
        "livecodebench",
    }
    for task in study.tasks:
        assert (DOC.parents[1] / "tasks" / f"{task.task}.yaml").is_file()


def test_options_reach_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["--personas", "148", "--response-tokens", "math500=1200"])
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if "answering directly" in line
    ]
    prompts = 25 * (148 * (500 + 390 + 4 * 30) + 10_000)
    assert f"| {prompts:,} |" in line


def test_a_length_of_no_task_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scale.main(["--response-tokens", "gsm8k=100"])
    assert "must be TASK=TOKENS with a task of math500" in capsys.readouterr().err
