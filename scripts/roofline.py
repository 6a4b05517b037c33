"""How fast a GPU makes responses, by a roofline: calculated, nothing here was timed.

Each decoding step reads the weights once and the keys and values of every sequence, at a stated
share of the GPU's bandwidth, or computes at a stated share of its peak, whichever takes longer
(Williams et al. 2009, doi 10.1145/1498765.1498785; for transformers Pope et al. 2022,
arXiv 2211.05102). `scripts/scale.py` makes a study's cost of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

BYTES = 2  # of a bf16 number
EULER = 0.5772157  # what harmonic numbers exceed the logarithm by in the end


def known(default: Any, what: str) -> Any:
    """A field with its default and, for `--help` and the tables, what it means."""
    return field(default=default, metadata={"help": what})


class Gpu(NamedTuple):
    """A GPU as its vendor's datasheet has it.

    Attributes:
        name: What it is called in the tables.
        bandwidth: Of its memory, bytes/s.
        flops: Dense peak in bf16, FLOP/s, without sparsity.
        memory: Bytes.
    """

    name: str
    bandwidth: float
    flops: float
    memory: float


GPUS = {
    "h100": Gpu("H100 SXM", 3.35e12, 989.4e12, 80e9),
    "h200": Gpu("H200 SXM", 4.8e12, 989.4e12, 141e9),
    "a100": Gpu("A100 SXM", 2.039e12, 312e12, 80e9),
}


@dataclass(frozen=True)
class Engine:
    """What is assumed of the GPU and of vLLM."""

    gpu: str = known("h100", f"one of {', '.join(GPUS)}")
    bandwidth_use: float = known(0.7, "share of the memory bandwidth reached")
    flops_use: float = known(0.5, "share of the bf16 peak reached, in decoding and prefill")
    parallel_use: float = known(0.8, "what is left of both where a model is split over GPUs")
    host_ms: float = known(5.0, "ms of each step that the GPU waits: scheduling, sampling, text")
    memory_use: float = known(0.9, "share of the memory taken (gpu_memory_utilization)")
    reserve_gb: float = known(4.0, "GB of it for activations, CUDA graphs, a vision tower")
    kv_use: float = known(0.9, "share of the room for keys and values that is filled")
    max_seqs: int = known(256, "sequences at a time at most (max_num_seqs)")


@dataclass(frozen=True)
class Model:
    """A decoder's shape, from the `config.json` that is published with it.

    Attributes:
        layers, hidden, heads, kv_heads, head_dim, ffn, vocab: As in the configuration.
        tied: Whether the output head is the input embedding.
        local: How many of the layers see only a window.
        window: Its length, tokens.
        thinks: Whether it has a thinking mode.
        gpus: Over how many GPUs it is split (tensor parallel).
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool = False
    local: int = 0
    window: int = 0
    thinks: bool = False
    gpus: int = 1

    @property
    def in_layers(self) -> int:
        """Parameters of all layers: query and output, key and value, three of a gated MLP.

        Norms and biases are left out (below 0.1%).
        """
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def parameters(self) -> int:
        """All parameters of the text model."""
        return self.in_layers + self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def multiplied(self) -> int:
        """Parameters that a new token is multiplied with: the layers and the output head."""
        return self.in_layers + self.vocab * self.hidden

    def kv_bytes(self, context: float) -> float:
        """Keys and values of one sequence of `context` tokens, bytes."""
        a_layer = 2 * self.kv_heads * self.head_dim * BYTES
        near = min(context, self.window) if self.local else 0.0
        return a_layer * ((self.layers - self.local) * context + self.local * near)


MODELS = (
    Model("Llama-3 8B", 32, 4096, 32, 8, 128, 14336, 128256),
    Model("Gemma-3 4B", 34, 2560, 8, 4, 256, 10240, 262208, tied=True, local=29, window=1024),
    Model("Gemma-3 12B", 48, 3840, 16, 8, 256, 15360, 262208, tied=True, local=40, window=1024),
    Model("Qwen-3 4B", 36, 2560, 32, 8, 128, 9728, 151936, tied=True, thinks=True),
    Model("Qwen-3 8B", 36, 4096, 32, 8, 128, 12288, 151936, thinks=True),
)
JUDGES = (
    Model("Llama-3.3 70B", 80, 8192, 64, 8, 128, 28672, 128256, gpus=4),
    Model("Qwen-2.5 72B", 80, 8192, 64, 8, 128, 29568, 152064, gpus=4),
)


# --------------------------------------------------------------------------- lengths
def harmonic(n: int) -> float:
    """1 + 1/2 + ... + 1/n, by Euler's series; 0 of 0."""
    return math.log(n) + EULER + 1 / (2 * n) - 1 / (12 * n * n) if n else 0.0


@lru_cache
def unlimited_mean(mean: int, limit: int) -> float:
    """Mean of an exponential that has this mean once it is cut off at `limit`.

    The s of E[min(L, limit)] = s (1 - exp(-limit / s)) = mean, by bisection; infinite where
    all are cut off.
    """
    if mean >= limit:
        return math.inf
    low, high = float(mean), 1e3 * limit
    while high - low > 1e-6 * low:
        middle = (low + high) / 2
        short = middle * -math.expm1(-limit / middle) < mean
        low, high = (middle, high) if short else (low, middle)
    return high


class Lengths(NamedTuple):
    """How long responses are: exponential, cut off at the limit.

    Attributes:
        mean: Tokens of a response on average, those that were cut off among them.
        limit: The most that are allowed (`max_gen_toks`).
    """

    mean: int
    limit: int

    @property
    def so_far(self) -> float:
        """Tokens of the response that a sequence in flight has on average: E[L²] / 2 E[L].

        More than half the mean, as with all slots busy long responses are met more often (the
        inspection paradox of renewal theory).
        """
        scale = unlimited_mean(self.mean, self.limit)
        if scale == math.inf:
            return self.limit / 2
        x = self.limit / scale
        return scale**2 * (1 - math.exp(-x) * (1 + x)) / self.mean

    def longest(self, n: int) -> float:
        """Expected longest of n, tokens: the scale times the n-th harmonic number."""
        return min(unlimited_mean(self.mean, self.limit) * harmonic(n), self.limit)


class Work(NamedTuple):
    """Responses to be made, all of one kind.

    Attributes:
        name: Of the task.
        responses: How many.
        prompt: Mean tokens of a prompt.
        fresh: Mean tokens of a prompt that the prefix cache lacks.
        length: Of the responses.
    """

    name: str
    responses: int
    prompt: float
    fresh: float
    length: Lengths

    @property
    def held(self) -> float:
        """Tokens that a sequence in flight holds on average."""
        return self.prompt + self.length.so_far


# --------------------------------------------------------------------------- times
def speeds(model: Model, engine: Engine) -> tuple[float, float]:
    """Bandwidth (bytes/s) and arithmetic (FLOP/s) that are reached, over the model's GPUs."""
    gpu, times = GPUS[engine.gpu], model.gpus * (engine.parallel_use if model.gpus > 1 else 1.0)
    return gpu.bandwidth * engine.bandwidth_use * times, gpu.flops * engine.flops_use * times


def batch_size(model: Model, work: Work, engine: Engine) -> int:
    """Sequences at a time: what the keys and values have room for, and vLLM's own limit.

    Raises:
        ValueError: the weights do not fit.
    """
    gpu = GPUS[engine.gpu]
    room = model.gpus * (gpu.memory * engine.memory_use - engine.reserve_gb * 1e9)
    room -= model.parameters * BYTES
    fits = int(room * engine.kv_use // model.kv_bytes(work.held))
    if fits < 1:
        raise ValueError(f"{model.name} does not fit {model.gpus} x {gpu.name}")
    return min(fits, engine.max_seqs, work.responses)


class Step(NamedTuple):
    """One decoding step, a token for each sequence in flight, seconds.

    Kernels follow one another, so each has a roofline of its own: the matrix products read the
    weights or do 2 FLOP a parameter and sequence, whichever takes longer; attention reads keys
    and values (at 2 to 8 FLOP a byte it is never bound by arithmetic).

    Attributes:
        weights: To read the weights.
        arithmetic: Of the matrix products, for one sequence.
        attention: To read the keys and values of one sequence.
        host: In which the GPU waits for the CPU.
    """

    weights: float
    arithmetic: float
    attention: float
    host: float

    def seconds(self, batch: int) -> float:
        products = max(self.weights, batch * self.arithmetic)
        return products + batch * self.attention + self.host


def step(model: Model, context: float, engine: Engine) -> Step:
    """A decoding step where sequences hold `context` tokens each."""
    bandwidth, flops = speeds(model, engine)
    return Step(
        model.multiplied * BYTES / bandwidth,
        2 * model.multiplied / flops,
        model.kv_bytes(context) / bandwidth,
        engine.host_ms / 1000,
    )


def prefill_seconds(model: Model, tokens: float, engine: Engine) -> float:
    """Time to read `tokens` prompt tokens, seconds: 2 FLOP a parameter of the layers.

    Attention among prompts of a few hundred tokens (below 2%) and the head are left out.
    """
    return 2 * model.in_layers * tokens / speeds(model, engine)[1]


def drain(model: Model, work: Work, batch: int, engine: Engine) -> tuple[float, float]:
    """The end of a run, when no new responses begin: seconds, and tokens made meanwhile.

    With k exponential responses left the next ends after 1/k of the mean, so the drain has
    unit x (1 + 1/2 + ... + 1/batch) steps and makes unit x batch tokens. The unit is the mean,
    or less where the limit comes first. Summed in closed form: the products are bound by
    arithmetic above `turn` sequences, and by the weights below.
    """
    one = step(model, work.held, engine)
    unit = work.length.longest(batch) / harmonic(batch)
    turn = min(batch, int(one.weights / one.arithmetic))
    products = one.weights * harmonic(turn) + one.arithmetic * (batch - turn)
    seconds = products + one.attention * batch + one.host * harmonic(batch)
    return unit * seconds, unit * batch


class Times(NamedTuple):
    """Seconds of one call of vLLM on the model's GPUs.

    Attributes:
        prefill: To read the prompts.
        decode: To make all tokens with the batch full.
        ending: By how much the drain is longer than its tokens take with the batch full.
    """

    prefill: float
    decode: float
    ending: float

    @property
    def total(self) -> float:
        return sum(self)


def times(model: Model, works: Sequence[Work], engine: Engine) -> Times:
    """How long one copy of the model takes for all the work, given to it in one call.

    The tasks share the batch, and there is one drain, at the end: it is taken to be that of the
    task where it costs most.
    """
    total = sum(work.responses for work in works)
    prefill = decode = ending = 0.0
    for work in works:
        if not work.responses:
            continue
        batch = batch_size(model, work._replace(responses=total), engine)
        a_token = step(model, work.held, engine).seconds(batch) / batch
        prefill += prefill_seconds(model, work.responses * work.fresh, engine)
        decode += work.responses * work.length.mean * a_token
        seconds, made = drain(model, work, min(batch, work.responses), engine)
        ending = max(ending, seconds - made * a_token)
    return Times(prefill, decode, ending)


def rate(model: Model, work: Work, engine: Engine) -> float:
    """Output tokens/s in the long run: prefill counts, loading and draining do not."""
    decode = work.length.mean * full_step(model, work, engine) / batch_size(model, work, engine)
    return work.length.mean / (prefill_seconds(model, work.fresh, engine) + decode)


def full_step(model: Model, work: Work, engine: Engine) -> float:
    """Seconds of a decoding step with the batch full: a token for each response in flight."""
    return step(model, work.held, engine).seconds(batch_size(model, work, engine))
