"""What goes wrong the first time: each is one sentence that says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_bench import cli
from persona_bench.failures import explain
from persona_bench.harness.preflight import ModelError, check_model
from persona_bench.harness.run import RunError, parse_arguments

WITHOUT = Path(__file__).parent / "support" / "without"
SMALL = ("--tasks", "persona_arithmetic", "--metadata", '{"persona_set":"demo","n_questions":1}')
LARGE = ("--tasks", "persona_arithmetic", "--metadata", '{"persona_set":"wide"}')
CHAT = "model=x,base_url=http://127.0.0.1:9/v1/chat/completions"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny checkpoint whose tokenizer has no chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "bare"
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=2,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=4096,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def command(
    *arguments: str | Path, cwd: Path, without: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own, as if some packages were not installed."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "400", "HF_HUB_OFFLINE": "1"}
    environment |= variables
    if without:
        path = os.pathsep.join(filter(None, (str(WITHOUT), os.environ.get("PYTHONPATH"))))
        environment |= {"WITHOUT": without, "PYTHONPATH": path}
    line = [sys.executable, "-m", "persona_bench", *map(str, arguments)]
    return subprocess.run(
        line, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command said before it failed."""
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


Here = Callable[..., str]


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Here:
    """Runs the command in this process, which spares each test the imports; its sentence."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["persona-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = int(str(ended.value.code))
        return sentence(subprocess.CompletedProcess([], code, *capfd.readouterr()))

    return run


HF = "pip install torch transformers accelerate"


@pytest.mark.parametrize(
    ("without", "arguments", "words"),
    [
        ("torch", ("run", "--model_args", "pretrained=x/y", *SMALL), HF),
        ("transformers", ("run", "--model_args", "pretrained=x/y", *SMALL, "--dry-run"), HF),
        (
            "vllm",
            ("run", "--model", "vllm", "--model_args", "pretrained=x/y", *SMALL),
            "pip install vllm",
        ),
        (
            "tenacity",
            ("run", "--model", "local-chat-completions", "--model_args", CHAT, *SMALL),
            "pip install 'lm-eval[api]'",
        ),
        ("torch", ("screen", "--model-args", "pretrained=x/y", *LARGE), HF),
        ("openai", ("judge", "out", "--judge", "x"), "pip install openai krippendorff"),
        ("krippendorff", ("judge", "out", "--judge", "x", "--audit"), "pip install openai kripp"),
        ("trl", ("train", "sft", "sft.yaml"), "pip install trl peft"),
        ("torch", ("train", "sft", "sft.yaml"), HF),
    ],
)
def test_a_library_that_is_not_installed(
    tmp_path: Path, without: str, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "sft.yaml").write_text(
        "model: x/y\noutput_path: trained\ndata: {source: math, evaluation: [math500]}\n"
    )
    said = sentence(command(*arguments, cwd=tmp_path, without=without))
    assert said.startswith(f"{without} is not installed: {words}")
    assert "persona" not in said  # no project is to be installed by this name
    assert not (tmp_path / "persona-bench-results").exists()


def test_verbose_shows_the_traceback(tmp_path: Path) -> None:
    arguments = ("judge", "out", "--judge", "x")
    done = command(*arguments, "--verbose", cwd=tmp_path, without="openai")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("pip install openai krippendorff")


@pytest.mark.parametrize("extra", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_a_model_without_a_chat_template(bare: Path, here: Here, extra: tuple[str, ...]) -> None:
    said = here("run", "--model_args", f"pretrained={bare}", *SMALL, *extra)
    assert said.startswith(f"{bare} has no chat template")
    assert "--no-chat-template" in said


def test_a_study_says_which_model_has_no_chat_template(
    bare: Path, here: Here, tmp_path: Path
) -> None:
    models = [{"name": "bare", "pretrained": str(bare)}]
    study = {"output_path": "out", "models": models, "tasks": ["persona_arithmetic"]}
    (tmp_path / "study.yaml").write_text(json.dumps({**study, "metadata": {"n_questions": 1}}))
    assert here("run", "study.yaml").startswith(f"model 'bare': {bare} has no chat template")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", [(), ("--dry-run",)], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub can't be reached"),
        ({}, "HF_HUB_OFFLINE is set"),
    ],
    ids=["refused", "offline"],
)
def test_a_hub_that_can_not_be_reached(
    tmp_path: Path, variables: dict[str, str], words: str, extra: tuple[str, ...]
) -> None:
    variables = {"HF_HOME": str(tmp_path), **variables}
    arguments = ("run", "--model_args", "pretrained=x/y", *SMALL, *extra)
    said = sentence(command(*arguments, cwd=tmp_path, **variables))
    assert said.startswith("the model 'x/y' (revision 'main') is no folder here, and ")
    assert words in said


def test_a_hub_that_has_the_questions_and_can_not_be_reached(bare: Path, tmp_path: Path) -> None:
    variables = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    variables |= {"HF_HOME": str(tmp_path), "PERSONA_BENCH_DATA": ""}
    asked = ("run", "--model_args", f"pretrained={bare}", "--dry-run")
    said = sentence(command(*asked, cwd=tmp_path, **variables))
    assert "can't be had from the hub (ConnectError: [Errno 111] Connection refused)" in said
    assert "PERSONA_BENCH_DATA" in said


@pytest.mark.parametrize("name", ["run", "screen"])
def test_a_gpu_that_is_not_there(bare: Path, here: Here, name: str) -> None:
    said = here(name, *LARGE, "--model-args", f"pretrained={bare}", "--device", "cuda:99")
    assert said.startswith("--device cuda:99: torch finds no such GPU here: leave --device out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pretrained": "weights"}, "weights is a file: name the folder of a checkpoint"),
        ({"pretrained": "empty"}, "empty holds no model: there is no config.json in it"),
        ({"pretrained": "adapter"}, "add peft=adapter"),
        ({"pretrained": "junk"}, "junk holds no model: its config.json names no model_type"),
        ({"pretrained": "torn"}, "config.json is not JSON"),
        ({"pretrained": "light"}, "light has a config.json and no weights"),
        ({"pretrained": "./none"}, "there is no folder none"),
        ({"pretrained": "a/b/c"}, "there is no folder a/b/c"),
        ({}, "hf needs pretrained=..., a hub id or a folder"),
    ],
)
def test_a_folder_that_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "adapter", "junk", "torn", "light"):
        (tmp_path / name).mkdir()
    (tmp_path / "junk" / "config.json").write_text("{}")
    (tmp_path / "torn" / "config.json").write_text("{")
    (tmp_path / "light" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "adapter" / "adapter_config.json").touch()
    (tmp_path / "weights").touch()
    with pytest.raises(ModelError) as caught:
        check_model("hf", arguments)
    assert words in str(caught.value)


def test_a_folder_with_a_gguf_file_needs_no_config(tmp_path: Path) -> None:
    check_model("hf", {"pretrained": str(tmp_path), "gguf_file": "model.gguf"})


def test_training_refuses_a_folder_that_is_no_model(here: Here, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "sft.yaml").write_text(
        "model: empty\noutput_path: trained\ndata: {source: math, evaluation: [math500]}\n"
    )
    assert here("train", "sft", "sft.yaml").startswith("empty holds no model")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("persona_arithmetc", "did you mean 'persona_arithmetic'?"),
        ("persona-math500", "did you mean 'persona_math500'?"),
        ("livecodebench", "did you mean 'persona_livecodebench'?"),
        ("gsm8k", "use persona_aime24, "),
    ],
)
def test_a_task_that_is_misspelt(here: Here, task: str, words: str) -> None:
    for name in ("run", "screen"):
        assert words in here(name, "--model-args", "pretrained=x/y", "--tasks", task)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'persona_set': 'demo'}", """write '{"persona_set": "demo"}', with double quotes"""),
        ("{'samples': 2, 'design': None}", """'{"samples": 2, "design": null}'"""),
        ('{"persona_set": "demo"', "is not a JSON object (Expecting"),
        ("{persona_set: demo}", "is not a JSON object (Expecting"),
        ("{1, 2}", "is not a JSON object (Expecting"),
        ("persona_set: demo", "'persona_set: demo' has no ="),
        ("persona_set=demo,wide", "'wide' has no ="),
    ],
)
def test_metadata_that_is_not_json(text: str, words: str) -> None:
    with pytest.raises(RunError) as caught:
        parse_arguments(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"bananas": 3}, "--metadata has no 'bananas': use persona_set, n_personas"),
        ({"temperature": 0.5}, "'temperature' is a generation argument"),
        ({"max_gen_toks": 10}, "move it from --metadata or --model_args to --gen_kwargs"),
        ({"nquestions": 3}, "did you mean 'n_questions'?"),
        ({"Persona_Set": "demo"}, "did you mean 'persona_set'?"),
        ({"level": [1]}, "did you mean 'levels'?"),
        ({"dtype": "float32"}, "--metadata has no 'dtype'"),
        ({"difficulty": "easy"}, "is a knob of persona_livecodebench alone"),
    ],
)
def test_a_knob_that_does_not_exist(here: Here, metadata: dict[str, object], words: str) -> None:
    asked = ("--tasks", "persona_arithmetic", "--metadata", json.dumps(metadata))
    for extra in (("run",), ("run", "--dry-run"), ("screen",)):
        said = here(*extra, "--model-args", "pretrained=x/y", *asked)
        assert words in said


def test_a_group_of_tasks_takes_only_the_knobs_of_all(here: Here) -> None:
    asked = ("--tasks", "persona_bench", "--metadata", '{"levels": [1]}')
    said = here("run", "--model-args", "pretrained=x/y", *asked)
    assert said.startswith("'levels' is a knob of persona_arithmetic alone")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "KeyError: 'x' (--verbose shows the traceback)"),
        (OSError("first\nsecond"), "OSError: first (--verbose shows the traceback)"),
        (AssertionError(), "AssertionError: AssertionError (--verbose"),
        (ModuleNotFoundError("No module named 'x'", name="x.y"), "module 'x' is not installed"),
        (
            ImportError("AutoModel requires the PyTorch library but it was not found"),
            f"torch is not installed: {HF}",
        ),
        (ModuleNotFoundError("No", name="persona_bench.cells"), "installation of Persona Bench is"),
        (AssertionError("Torch not compiled with CUDA enabled"), "leave --device out"),
        (RuntimeError("CUDA out of memory. Tried"), "the GPU has too little memory"),
        (OSError("We couldn't connect to 'https://hub' to"), "the hub can't be reached"),
        (OSError("x is not a local folder and is not a valid model identifier"), "no such model"),
        (
            ValueError("Cannot use chat template functions: tokenizer.chat_template is not set"),
            "has no chat template",
        ),
    ],
)
def test_errors_of_the_libraries_are_explained(error: Exception, words: str) -> None:
    assert words in explain(error)
    assert "\n" not in explain(error)
