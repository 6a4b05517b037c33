"""What can be known to be wrong about a model before it is loaded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from persona_bench.failures import NO_GPU, NO_TEMPLATE, missing
from persona_bench.harness.fingerprint import hub_commit, is_api

HF = ("hf", "hf-auto", "huggingface")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack")
LIBRARIES = {
    **dict.fromkeys(HF, ("torch", "transformers", "accelerate")),
    "vllm": ("vllm", "transformers"),
    "local-completions": ("aiohttp", "tenacity"),
    "local-chat-completions": ("aiohttp", "tenacity"),
    "openai-completions": ("aiohttp", "tenacity", "tiktoken"),
    "openai-chat-completions": ("aiohttp", "tenacity"),
}


class ModelError(ValueError):
    """A model that can't be loaded, or not used here; the message says what to do."""


def check_model(
    backend: str, model_args: Mapping[str, Any], name: str = "", device: str | None = None
) -> None:
    """Whether a backend exists, is installed, and has what it needs; nothing is fetched.

    Args:
        backend: As lm-eval's `--model`.
        model_args: As lm-eval's `--model_args`.
        name: The model's name in a study, for the message.
        device: Where the user wants the model; None leaves the choice to the backend.

    Raises:
        ModelError: what is missing, and what to do.
    """
    from lm_eval.api.registry import model_registry

    who = f"model {name!r}: " if name else ""
    known = sorted(model_registry)
    if backend not in known:
        close = get_close_matches(backend, known, n=3) or ["hf", "vllm", "local-chat-completions"]
        raise ModelError(
            f"{who}lm-eval has no backend {backend!r}: did you mean {', '.join(close)}?"
        )
    if is_api(backend, model_args):
        problem = _endpoint_problem(backend, model_args)
    elif backend in (*HF, "vllm"):
        problem = _source_problem(backend, model_args)
    else:
        problem = ""
    problem = missing(*LIBRARIES.get(backend, ())) or problem or _value_problem(backend, model_args)
    device = device or model_args.get("device")
    if not problem and device and backend in HF:
        problem = _device_problem(str(device))
    if problem:
        raise ModelError(f"{who}{problem}")


WHOLE_NUMBERS = (
    "num_concurrent", "max_retries", "timeout", "max_length", "max_gen_toks", "max_model_len",
    "tensor_parallel_size", "data_parallel_size", "max_batch_size",
)  # fmt: skip
DTYPES = {"auto", "float", "float16", "float32", "float64", "bfloat16", "half", "double"}
RARE_DTYPES = re.compile(r"(torch\.)?(u?int\d+|float8_\w+|q?u?int\d+)")


def _value_problem(backend: str, model_args: Mapping[str, Any]) -> str:
    """What is wrong with a value that the backend would stumble over, after it has loaded."""
    for name in WHOLE_NUMBERS:
        value = model_args.get(name)
        if value is not None and not str(value).removeprefix("-").isdecimal():
            return f"{name}={value!r} in --model-args must be a whole number"
    dtype = str(model_args.get("dtype") or "auto")
    if backend in (*HF, "vllm") and dtype not in DTYPES and not RARE_DTYPES.fullmatch(dtype):
        return f"dtype={dtype!r} is unknown: use bfloat16, float16, float32 or auto"
    return ""


def _endpoint_problem(backend: str, model_args: Mapping[str, Any]) -> str:
    if not (model_args.get("model") or model_args.get("pretrained")):
        return "an endpoint needs model=NAME in its model_args"
    url = str(model_args.get("base_url") or "")
    if backend.startswith("local-") and not url:
        return f"{backend} needs base_url=... in its model_args"
    if url and not url.startswith(("http://", "https://")):
        return f"base_url={url!r} must start with http:// or https://"
    if backend.startswith("openai-") and not os.environ.get("OPENAI_API_KEY"):
        return f"{backend} needs a key in the environment: OPENAI_API_KEY"
    return ""


def _source_problem(backend: str, model_args: Mapping[str, Any]) -> str:
    """What is wrong with `pretrained`, a hub id or a folder."""
    pretrained = str(model_args.get("pretrained") or "")
    if not pretrained:
        return f"{backend} needs pretrained=..., a hub id or a folder"
    return folder_problem(pretrained, gguf=bool(model_args.get("gguf_file")))


def folder_problem(model: str, *, gguf: bool = False) -> str:
    """Why what looks like a model's folder can't be one; empty where nothing is wrong.

    Args:
        model: A hub id or a folder.
        gguf: The folder's model is a GGUF file, which needs no config.json.
    """
    folder = Path(model).expanduser()
    if folder.is_file():
        return f"{folder} is a file: name the folder of a checkpoint, with config.json and weights"
    if folder.is_dir():
        if gguf:
            return ""
        if (folder / "config.json").is_file():
            return _contents_problem(folder)
        if (folder / "adapter_config.json").is_file():
            return (
                f"{folder} holds an adapter, not a whole model: give the base model as pretrained "
                f"and add peft={folder}"
            )
        return (
            f"{folder} holds no model: there is no config.json in it; name the folder of a "
            "checkpoint"
        )
    if model.startswith(("/", "./", "../", "~")) or model.count("/") > 1:
        return (
            f"there is no folder {folder}: name the folder of a checkpoint, or a model of the hub "
            "(ORG/NAME)"
        )
    return ""


def _contents_problem(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        return f"{folder / 'config.json'} is not JSON ({error}): save the checkpoint again"
    if not isinstance(config, dict) or not config.get("model_type"):
        return f"{folder} holds no model: its config.json names no model_type"
    if not any(file.suffix in WEIGHTS for file in folder.iterdir()):
        return f"{folder} has a config.json and no weights (.safetensors, .bin): copy them there"
    return ""


def _device_problem(device: str) -> str:
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError:
        return f"--device {device} is no device: use cuda, cuda:1, cpu, mps, ..."
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        return f"--device {device}: {NO_GPU}"
    return ""


def check_chat_template(backend: str, model_args: Mapping[str, Any], name: str = "") -> None:
    """Whether a model's tokenizer has a chat template; the weights are not read.

    Raises:
        ModelError: it has none.
        FingerprintError: the hub can't be reached, or has no such model.
    """
    if is_api(backend, model_args) or backend not in (*HF, "vllm"):
        return
    if model_args.get("gguf_file") or model_args.get("tokenizer_mode"):  # not read by transformers
        return
    source = str(model_args.get("tokenizer") or model_args["pretrained"])
    try:
        tokenizer = load("AutoTokenizer", source, model_args)
    except (OSError, ValueError, ImportError):
        return  # what else is wrong with it, the backend says when it loads the model
    if not getattr(tokenizer, "chat_template", True):
        raise ModelError(f"{f'model {name!r}: ' if name else ''}{source} {NO_TEMPLATE}")


def load(kind: str, source: str, model_args: Mapping[str, Any]) -> Any:
    """A tokenizer or configuration, from a folder or from the hub.

    The hub is asked once whether it can be reached at all, as transformers tries for a minute.

    Args:
        kind: `AutoTokenizer` or `AutoConfig`.
        source: A hub id or a folder.
        model_args: With `revision` and `trust_remote_code`.

    Raises:
        FingerprintError: the hub can't be reached, or has no such model.
        OSError, ValueError: from transformers.
    """
    import transformers

    loader = getattr(transformers, kind).from_pretrained
    settings: dict[str, Any] = {
        "trust_remote_code": bool(model_args.get("trust_remote_code", False))
    }
    if Path(source).expanduser().is_dir():
        return loader(str(Path(source).expanduser()), **settings)
    settings["revision"] = hub_commit(source, str(model_args.get("revision") or "main"))
    try:
        return loader(source, local_files_only=True, **settings)
    except OSError:
        return loader(source, **settings)
