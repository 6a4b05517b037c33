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
from persona_bench.harness.knobs import check_generation
from persona_bench.harness.preflight import ModelError, check_model
from persona_bench.harness.run import RunError, Session, parse_arguments

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


@pytest.mark.slow
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
    if name == "run":
        said = here(name, *LARGE, "--model-args", f"pretrained={bare}", "--device", "cuda:99")
        assert said.startswith("--device cuda:99: torch finds no such GPU here: leave --device out")
    said = here(name, *LARGE, "--model-args", f"pretrained={bare},device=cuda:99")
    assert said.startswith("--device cuda:99: torch finds no such GPU here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("dtype=bf16", "dtype='bf16' is unknown: use bfloat16, float16, float32 or auto"),
        ("dtype=float99", "dtype='float99' is unknown"),
        ("max_length=long", "max_length='long' in --model-args must be a whole number"),
        ("tensor_parallel_size=two", "tensor_parallel_size='two' in --model-args must be a whole"),
        ("batch_size=eight", "--batch-size eight must be a whole number above 0, auto or auto:N"),
        ("batch_size=0", "--batch-size 0 must be a whole number above 0"),
    ],
)
def test_a_value_that_can_not_be(bare: Path, here: Here, arguments: str, words: str) -> None:
    said = here("run", *LARGE, "--model-args", f"pretrained={bare},{arguments}")
    assert said.startswith(words)


def test_values_of_an_endpoint_that_can_not_be(here: Here) -> None:
    asked = ("run", "--model", "local-chat-completions", *SMALL)
    said = here(*asked, "--model-args", f"{CHAT},num_concurrent=many")
    assert said == "num_concurrent='many' in --model-args must be a whole number"
    said = here(*asked, "--model-args", CHAT, "--batch-size", "4.5")
    assert said.startswith("--batch-size 4.5 must be a whole number")
    for limit in ("-3", "0"):
        said = here(*asked, "--model-args", CHAT, "--limit", limit)
        assert said.endswith("must be above 0")
    said = here("run", *SMALL, "--model-args", "org/name")
    assert said.endswith("'org/name' has no =: write pretrained=org/name")


def test_flags_may_be_given_as_model_arguments(tmp_path: Path) -> None:
    """lm-eval's loader ends in a TypeError about multiple values."""
    given = {"pretrained": "x/y", "device": "cpu", "batch_size": 4}
    with Session("hf", given, tmp_path) as session:
        assert (session.device, session.batch_size) == ("cpu", "4")
        assert session.model_args == {"pretrained": "x/y"}
    with Session("hf", given, tmp_path, device="cpu", batch_size="4") as session:
        assert (session.device, session.batch_size) == ("cpu", "4")
    with pytest.raises(RunError, match="--batch-size 8 and batch_size=4 in --model-args differ"):
        Session("hf", given, tmp_path, batch_size="8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pretrained": "weights"}, "weights is a file: name the folder of a checkpoint"),
        ({"pretrained": "empty"}, "empty holds no model: there is no config.json in it"),
        ({"pretrained": "adapter"}, "add peft=adapter"),
        ({"pretrained": "junk"}, "junk holds no model: its config.json names no model_type"),
        ({"pretrained": "torn"}, "config.json is not JSON"),
        ({"pretrained": "light"}, "light has a config.json and no weights"),
        ({"pretrained": "./none"}, "there is no folder none: name the folder of a checkpoint"),
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
        ("livecodebench", "did you mean persona_livecodebench, "),
    ],
)
def test_a_task_that_is_misspelt(here: Here, task: str, words: str) -> None:
    for name in ("run", "screen"):
        assert words in here(name, "--model-args", "pretrained=x/y", "--tasks", task)


@pytest.mark.slow
def test_a_task_of_lm_eval_s_that_needs_the_hub(here: Here) -> None:
    """Offline: `run` names what it can't reach, and `screen` the tasks that it takes."""
    given = ("--model-args", "pretrained=x/y", "--tasks", "gsm8k")
    assert "Couldn't reach 'openai/gsm8k' on the Hub" in here("run", *given)
    assert "use persona_aime24, " in here("screen", *given)


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


@pytest.mark.parametrize(
    ("generation", "words"),
    [
        ("temprature=0.5", "--gen_kwargs has 'temprature': did you mean 'temperature'?"),
        ("dosample=True", "did you mean 'do_sample'?"),
        ("max_gen_tokens=9", "did you mean 'max_gen_toks'?"),
        ("top-p=0.9", "did you mean 'top_p'?"),
        ("samples=4", "'samples' is a knob and would do nothing here: move it from --gen_kwargs"),
        ("levels=[1]", "'levels' is a knob and would do nothing here"),
        (
            "temperature=0.8",
            "--gen_kwargs temperature=0.8 does nothing while decoding is greedy: add ",
        ),
        ("temperature=hot", "--gen_kwargs temperature='hot' must be a number"),
        ("max_new_tokens=many", "--gen_kwargs max_new_tokens='many' must be a number"),
    ],
)
def test_a_generation_argument_that_does_not_exist(here: Here, generation: str, words: str) -> None:
    asked = ("--model-args", "pretrained=x/y", "--tasks", "persona_arithmetic", "--dry-run")
    assert words in here("run", *asked, "--gen-kwargs", generation)


def test_arguments_of_some_backends_alone_are_left_to_them() -> None:
    known = ("min_tokens", "repeat_penalty", "typical_p", "extra_body", "chat_template_kwargs")
    check_generation({name: {"any": "value"} for name in known} | {"top_k": 5, "seed": None})


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
        (
            ValueError("The following `model_kwargs` are not used by the model: ['bananas'] (note"),
            "the model takes no generation arguments ['bananas']: leave them out of --gen_kwargs",
        ),
        (
            TypeError("LlamaForCausalLM.__init__() got an unexpected keyword argument 'bananas'"),
            "LlamaForCausalLM takes no argument 'bananas': if it stands in --model_args",
        ),
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
