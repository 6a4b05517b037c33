"""Which model is this? A name for its content, so that two checkpoints never share responses."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# model arguments that say where and how fast a model runs, not what it answers; and those whose
# content is in the fingerprint by itself. All others are part of it.
SECRET = frozenset({"api_key", "auth_token", "header", "hf_token", "token", "use_auth_token"})
OPERATIONAL = SECRET | frozenset(
    {
        "pretrained", "model", "path", "peft", "lora_local_path", "delta", "tokenizer", "revision",
        "subfolder",
        "base_url", "batch_size", "max_batch_size", "device", "device_map", "device_map_option",
        "parallelize", "max_memory_per_gpu", "max_cpu_memory", "offload_folder", "gpus",
        "num_concurrent", "max_retries", "timeout", "verify_certificate", "ca_cert_path",
        "trust_remote_code", "use_fast_tokenizer", "tensor_parallel_size",
        "pipeline_parallel_size", "data_parallel_size", "gpu_memory_utilization", "swap_space",
        "cpu_offload_gb", "max_num_seqs", "max_num_batched_tokens", "enable_prefix_caching",
        "enforce_eager", "distributed_executor_backend", "disable_log_stats",
        "disable_custom_all_reduce",
    }
)  # fmt: skip
PARTS = ("pretrained", "model", "path", "peft", "lora_local_path", "delta", "tokenizer")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".model", ".json", ".txt", ".py")
TRAINERS_OWN = ("optimizer", "scheduler", "rng_state", "trainer_state", "training_args")
WAIT_SECONDS = 10


class FingerprintError(RuntimeError):
    """A model that can't be told from others; one sentence says why."""


@dataclass(frozen=True)
class Fingerprint:
    """A model's content as one name.

    Attributes:
        digest: sha256, hexadecimal, of `parts`.
        parts: What it was made of: the backend, the content of each part, other arguments.
    """

    digest: str
    parts: dict[str, Any]


def fingerprint(backend: str, model_args: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint of a model as lm-eval would load it.

    A folder counts by the sha256 of its weights, configuration and tokenizer (a chat template
    is in the rendered prompt already), a hub id by its commit, an API by the name it reports.

    Args:
        backend: lm-eval's name of it: `hf`, `vllm`, `local-chat-completions`, ...
        model_args: As `--model_args`.

    Raises:
        FingerprintError: a hub id whose commit can't be found out, or an endpoint that does
            not answer.
    """
    parts: dict[str, Any] = {"backend": backend}
    api = is_api(backend, model_args)
    for name in PARTS:
        if not (given := model_args.get(name)):
            continue
        if not api:
            parts[name] = _content(str(given), model_args.get("revision"))
        elif name != "tokenizer":
            parts[name] = _reported(str(given), model_args)
    parts["arguments"] = {
        name: value
        for name, value in sorted(model_args.items())
        if name not in OPERATIONAL and value is not None
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest(), json.loads(text))


def without_secrets(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Model arguments as they may be written into results, which people publish."""
    return {
        name: "***" if name in SECRET and value else value for name, value in model_args.items()
    }


def is_api(backend: str, model_args: Mapping[str, Any]) -> bool:
    """Whether a backend asks a server."""
    served = backend.startswith(("openai", "anthropic", "litellm", "textsynth", "watsonx"))
    return served or "completions" in backend or "base_url" in model_args


def _content(given: str, revision: Any) -> Any:
    folder = Path(given).expanduser()
    if folder.is_dir():
        return {"files": _hashes(folder)}
    return {"hub": given, "commit": hub_commit(given, str(revision or "main"))}


# ---------------------------------------------------------------------- folders


def _hashes(folder: Path) -> dict[str, str]:
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in WEIGHTS and not file.name.startswith(TRAINERS_OWN) and file.is_file()
    ]
    if not files:
        raise FingerprintError(
            f"{folder} holds no model (no .safetensors, .bin or .json file): name the folder of a "
            "checkpoint in --model_args"
        )
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets go of the interpreter
        return dict(zip((file.name for file in files), pool.map(_hash, files), strict=True))


def _hash(file: Path) -> str:
    if file.name == "tokenizer_config.json":
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings.pop("chat_template", None)
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    digest = hashlib.sha256()
    with file.open("rb") as data:
        while block := data.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


# ---------------------------------------------------------------------- hub


def hub_commit(name: str, revision: str) -> str:
    """The commit of a hub model: the hub's word, else that of the copy on this machine.

    Raises:
        FingerprintError: neither is to be had; says why.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        commit = HfApi().model_info(name, revision=revision, timeout=WAIT_SECONDS).sha
        if commit:
            return str(commit)
        why = "the hub names no commit for it"
    except OfflineModeIsEnabled:
        why = "HF_HUB_OFFLINE is set and no copy is in this machine's cache: unset it"
    except HFValidationError:
        why = "it is no hub id either: check the name"
    except RevisionNotFoundError:
        why = "the hub's model has no such revision: check it"
    except RepositoryNotFoundError:  # a gated one too
        why = "the hub has no such model, or does not let you have it: check the name, or log in"
    except Exception as error:  # the clients below raise a dozen unrelated types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        why = f"the hub can't be reached ({first}): check the network"
    stored = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    reference = stored / "refs" / revision
    if reference.is_file():
        return reference.read_text().strip()
    if (stored / "snapshots" / revision).is_dir():
        return revision
    raise FingerprintError(
        f"the model {name!r} (revision {revision!r}) is no folder here, and {why}, or name the "
        "folder of a checkpoint"
    )


# ---------------------------------------------------------------------- endpoints


def _reported(name: str, model_args: Mapping[str, Any]) -> dict[str, Any]:
    """The model as the endpoint's list of models reports it; its name alone where none is."""
    base = str(model_args.get("base_url") or "")
    for end in ("/chat/completions", "/completions"):
        if base.endswith(end):
            for model in _models(base.removesuffix(end) + "/models", model_args):
                if model.get("id") == name:
                    # vLLM says which folder it serves under the name
                    return {key: model[key] for key in ("id", "root") if model.get(key)}
            break
    return {"id": name}


def _models(url: str, model_args: Mapping[str, Any]) -> list[dict[str, Any]]:
    import requests

    key = os.environ.get("OPENAI_API_KEY", "")
    headers = model_args.get("header") or ({"Authorization": f"Bearer {key}"} if key else {})
    problem = ""
    for wait in (0, 1, 2):
        time.sleep(wait)
        try:
            answer = requests.get(
                url,
                headers=headers,
                timeout=WAIT_SECONDS,
                verify=model_args.get("verify_certificate", True),
            )
        except requests.RequestException as error:
            problem = type(error).__name__
            continue
        if answer.status_code in (429, 502, 503, 504):
            problem = f"HTTP {answer.status_code}"
            continue
        try:
            data = answer.json()["data"] if answer.ok else []
            return [dict(model) for model in data]
        except (ValueError, KeyError, TypeError):
            return []
    raise FingerprintError(
        f"the endpoint {url} does not answer ({problem}): is the server up, and base_url right?"
    )
