"""Which model is it: names for content."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from persona_bench.harness.fingerprint import FingerprintError, fingerprint
from tests.support.studies import hub_model

# ---------------------------------------------------------------------- which model is it


def test_two_checkpoints_in_one_path_have_two_fingerprints(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "x", "bos": 1}')
    (folder / "model.safetensors").write_bytes(b"1234")
    arguments = {"pretrained": str(folder), "dtype": "float32"}
    first = fingerprint("hf", arguments).digest
    assert fingerprint("hf", {**arguments, "batch_size": 4, "device": "cpu"}).digest == first
    assert fingerprint("hf", {**arguments, "dtype": "bfloat16"}).digest != first
    assert fingerprint("vllm", arguments).digest != first
    (folder / "trainer_state.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"bos": 1, "chat_template": "y"}')
    assert fingerprint("hf", arguments).digest == first, "the template is in the prompt"
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied)
    assert fingerprint("hf", {**arguments, "pretrained": str(copied)}).digest == first
    times = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(b"1235")  # the same size, the same time
    os.utime(folder / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint("hf", arguments).digest != first
    with pytest.raises(FingerprintError, match="holds no model"):
        fingerprint("hf", {"pretrained": str(tmp_path)})
    adapter = {"pretrained": str(copied), "lora_local_path": str(folder)}
    trained = fingerprint("vllm", adapter).digest
    (folder / "adapter_model.safetensors").write_bytes(b"more")
    assert fingerprint("vllm", adapter).digest != trained


def test_a_hub_id_counts_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FingerprintError, match=r"'org/name' \(revision 'main'\) is no folder here"):
        fingerprint("hf", {"pretrained": "org/name"})
    hub_model(tmp_path, "org/name", "a" * 40)
    first = fingerprint("hf", {"pretrained": "org/name"})
    assert first.parts["pretrained"] == {"hub": "org/name", "commit": "a" * 40}
    (tmp_path / "models--org--name" / "refs" / "main").write_text("b" * 40)
    assert fingerprint("hf", {"pretrained": "org/name"}).digest != first.digest
