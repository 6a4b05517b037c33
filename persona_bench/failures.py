"""Why a command stopped, in one sentence that says what to do."""

from __future__ import annotations

import re
import traceback
from importlib.util import find_spec
from pathlib import Path

from persona_bench_autoload import MEND

_PACKAGE = Path(__file__).parent

_HF = "torch transformers accelerate"
INSTALL = {
    "torch": _HF,
    "transformers": _HF,
    "accelerate": _HF,
    "vllm": "vllm",
    "aiohttp": "'lm-eval[api]'",
    "requests": "'lm-eval[api]'",
    "tenacity": "'lm-eval[api]'",
    "tiktoken": "'lm-eval[api]'",
    "openai": "openai krippendorff",
    "krippendorff": "openai krippendorff",
    "trl": "trl peft",
    "peft": "trl peft",
    "gguf": "gguf",
    "sentence_transformers": "sentence-transformers",
}
"""What to give to `pip install` where a module is missing: the libraries by their own names."""


def not_installed(module: str) -> str:
    """That a library is missing, and the command that installs it."""
    if module in INSTALL:
        return f"{module} is not installed: pip install {INSTALL[module]}"
    return f"the Python module {module!r} is not installed: install the library that has it"


def missing(*modules: str) -> str:
    """`not_installed` of the first module that can't be found; empty where all can."""
    return next((not_installed(name) for name in modules if find_spec(name) is None), "")


def explain(error: BaseException) -> str:
    """One sentence for an error that reached the command line.

    What this package raised for the user stands as it is. The failures that the libraries
    below it are known for are put into words. Of anything else the type and the first line of
    the message are told, and how to see the traceback.
    """
    if isinstance(error, (ValueError, RuntimeError, FileNotFoundError)) and _is_ours(error):
        return str(error)
    text = str(error)
    if isinstance(error, ImportError):
        module = (error.name or "").partition(".")[0]
        wanted = re.search(r"requires the (\w+) library", text)
        if module == "persona_bench":
            return f"this installation of Persona Bench is damaged ({text}): {MEND}"
        if wanted or (module and isinstance(error, ModuleNotFoundError)):
            known = {"PyTorch": "torch", "Accelerate": "accelerate"}
            return not_installed(known.get(wanted[1], wanted[1].lower()) if wanted else module)
    for pattern, sentence in KNOWN:
        if match := re.search(pattern, f"{type(error).__name__}: {text}"):
            return sentence.format(first=first_line(error), **match.groupdict())
    return f"{type(error).__name__}: {first_line(error)} (--verbose shows the traceback)"


NO_TEMPLATE = (
    "has no chat template, and a persona is a system message only through one: choose a chat "
    "model, put the template into the model's folder as chat_template.jinja, or add "
    "--no-chat-template to give the persona as plain text"
)
NO_GPU = "torch finds no such GPU here: leave --device out, or give --device cpu"

KNOWN = [
    (r"chat_template is not set|does not have a chat template", f"the model {NO_TEMPLATE}"),
    (
        r"Torch not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs are available"
        r"|invalid device ordinal|Invalid device string|Expected one of cpu, cuda",
        f"{{first}}: {NO_GPU}",
    ),
    (
        r"`model_kwargs` are not used by the model: (?P<names>\[[^\]]*\])",
        "the model takes no generation arguments {names}: leave them out of --gen_kwargs, or mend "
        "their names",
    ),
    (
        r"(?P<what>\w+)(?:\.__init__)?\(\) got an unexpected keyword argument (?P<name>'\w+')",
        "{what} takes no argument {name}: if it stands in --model_args, leave it out or mend it "
        "(--verbose shows the traceback)",
    ),
    (
        r"OutOfMemoryError|CUDA out of memory",
        "the GPU has too little memory ({first}): lower --batch-size, or free the GPU; what is "
        "stored is kept",
    ),
    (
        r"couldn't connect to|LocalEntryNotFoundError|OfflineModeIsEnabled",
        "the hub can't be reached, and the files are not on this machine ({first}): check the "
        "network, or name a folder instead of a hub id",
    ),
    (
        r"is not a valid model identifier|RepositoryNotFoundError|GatedRepoError",
        "the hub has no such model, or does not let you have it ({first}): check the name, or "
        "log in with `hf auth login`",
    ),
]  # fmt: skip
"""The failures that libraries are known for: a pattern of `Type: message`, and a sentence."""


def _is_ours(error: BaseException) -> bool:
    """Whether this package raised it, with a sentence for the user."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".:") if lines else type(error).__name__
