"""Questions after a conversation: what the server got turn by turn, and runs that stop in it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from persona_bench import load_persona_set
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.knobs import KnobError, Knobs
from persona_bench.harness.run import RunError, run
from persona_bench.harness.script import MOST_SCRIPTS, MOST_TURNS, user_turns
from persona_bench.rendering import MissingPersonaError, merged
from persona_bench.results.outcomes import read_outcomes, read_responses
from persona_bench.results.samples import find_samples
from tests.support.chat_server import ChatServer
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.studies import written
from tests.support.tiny_model import tiny_model
from tests.test_cli import persona_bench
from tests.test_resume import PRELOADED, finish, run_and_kill
from tests.test_study import RANKS

TURNS, SCRIPTS, QUESTIONS = [0, 2, 5], 4, 8
TAGS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}<assistant>"
)
PERSONAS = {each.id: each.prompt for each in load_persona_set("demo")}
SMALL_TALK = {turn for script in range(SCRIPTS) for turn in user_turns(script, SCRIPTS)}


def small_talk(body: dict[str, Any], number: int = 0) -> dict[str, Any] | None:
    """A reply that names what it was asked; None where the last turn is a question."""
    messages = body["messages"]
    said = messages[-1]["content"]
    if not any(said.endswith(turn) for turn in SMALL_TALK):
        return None
    digest = hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:8]
    message = {"role": "assistant", "content": f"Reply {len(messages)} ({digest})"}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def server(fault: Any = small_talk) -> ChatServer:
    questions = choose_questions(BENCHMARK.load(None, 0), QUESTIONS, 0)
    answers = {BENCHMARK.prompt(each.problem): each.answer for each in questions}
    merging = {merged(p, q): a for p in PERSONAS.values() if p for q, a in answers.items()}
    return ChatServer(dict.fromkeys(PERSONAS.values(), 0.7), {**answers, **merging}, fault)


def ask(chat: ChatServer, folder: Path, **knobs: Any) -> None:
    run(
        model="local-chat-completions",
        model_args={"model": "small", "base_url": chat.url, "num_concurrent": 8, "max_retries": 1},
        tasks=["persona_arithmetic"],
        output_path=folder,
        metadata={"persona_set": "demo", "n_questions": QUESTIONS, "turns": TURNS, **knobs},
    )


def turns_of(body: dict[str, Any]) -> int:
    return sum(message["role"] == "assistant" for message in body["messages"])


# ------------------------------------------------------------------------------- the script
def test_scripts_are_long_and_begin_apart() -> None:
    assert MOST_TURNS >= 60
    assert len(SMALL_TALK) == MOST_TURNS
    starts = [user_turns(script, SCRIPTS)[:16] for script in range(SCRIPTS)]
    assert len({turn for start in starts for turn in start}) == 16 * SCRIPTS
    assert len({user_turns(each, MOST_SCRIPTS)[0] for each in range(MOST_SCRIPTS)}) == MOST_SCRIPTS


@pytest.mark.parametrize("turns", [[4, 4], [-1], "many", [MOST_TURNS + 1], []])
def test_impossible_numbers_of_turns_are_refused(turns: Any) -> None:
    with pytest.raises(KnobError, match="turns"):
        Knobs.from_metadata({"turns": turns})


# ------------------------------------------------------------------------------- what is asked
def test_every_question_follows_its_conversation_turn_by_turn(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path)
        asked = [body["messages"] for body in chat.requests]
    replies = {
        json.dumps(messages): small_talk({"messages": messages})["choices"][0]["message"]["content"]  # type: ignore[index]
        for messages in asked
        if small_talk({"messages": messages})
    }
    # one reply per persona, script and round, each asked once
    assert len(replies) == len(PERSONAS) * SCRIPTS * max(TURNS)
    assert len(asked) == len(replies) + len(PERSONAS) * QUESTIONS * len(TURNS)
    files = {each.facts["turns"]: each for each in find_samples(tmp_path)}
    assert sorted(files) == TURNS
    got = Counter(map(json.dumps, asked))
    for turns, samples in files.items():
        shared: dict[str, Counter[int]] = {}
        for row in samples.records():
            doc = row["doc"]
            script = user_turns(doc["script"], SCRIPTS)
            expected = [{"role": "system", "content": doc["system"]}] if doc["system"] else []
            for turn in script[:turns]:
                expected.append({"role": "user", "content": turn})
                said = replies[json.dumps(expected)]
                expected.append({"role": "assistant", "content": said})
            talk = [m["content"] for m in expected if m["role"] != "system"]
            assert doc["turns"] == turns
            assert doc.get("conversation", []) == talk
            expected.append({"role": "user", "content": doc["prompt"]})
            assert got[json.dumps(expected)] == 1
            shared.setdefault(doc["persona"], Counter())[doc["script"]] += 1
        # the questions share the conversations in balance, alike for all personas
        assert all(each == dict.fromkeys(range(SCRIPTS), 2) for each in shared.values())
    outcomes = read_outcomes(tmp_path)
    assert set(outcomes["task"]) == {
        "persona_arithmetic", "persona_arithmetic_turns2", "persona_arithmetic_turns5",
    }  # fmt: skip


def test_merged_personas_stand_before_the_first_turn(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path, system_role="merge", turns=2)
        asked = [body["messages"] for body in chat.requests]
    pirate = [m for m in asked if m[0]["content"].startswith(PERSONAS["pirate"])]
    assert len(pirate) == 2 * SCRIPTS + QUESTIONS
    assert {m[0]["content"] for m in pirate} == {
        merged(PERSONAS["pirate"], user_turns(script, SCRIPTS)[0]) for script in range(SCRIPTS)
    }
    assert all(PERSONAS["pirate"] not in each["content"] for m in pirate for each in m[1:])


def run_on(url: str, folder: str) -> None:
    """A run in a process of its own."""
    ask(SimpleNamespace(url=url), Path(folder) / "out")  # type: ignore[arg-type]


def test_a_run_that_is_killed_within_a_conversation_goes_on_there(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "tests.test_conversations"])
    full = len(PERSONAS) * (SCRIPTS * max(TURNS) + QUESTIONS * len(TURNS))
    with server() as chat:
        chat.delay = 0.02
        for at in (10, 60):  # in the first and in the third round of 24 replies each
            run_and_kill(
                context, run_on, (chat.url, str(tmp_path / "killed")), tmp_path / "killed", at
            )
        chat.delay = 0
        finish(context, run_on, (chat.url, str(tmp_path / "killed")))
        asked = Counter(json.dumps(body["messages"]) for body in chat.requests)
    with server() as chat:
        finish(context, run_on, (chat.url, str(tmp_path / "whole")))
        assert set(asked) == {json.dumps(body["messages"]) for body in chat.requests}
    # only what was under way when the process died is asked twice
    assert len(asked) == full
    assert asked.total() <= full + 2 * 8
    kept = ["task", "persona", "question", "response", "verdict", "turns", "script"]
    killed, whole = (read_outcomes(tmp_path / name / "out")[kept] for name in ("killed", "whole"))
    assert killed.equals(whole)


def test_a_conversation_that_fails_for_good_leaves_its_questions_unscored(tmp_path: Path) -> None:
    def fails(body: dict[str, Any], number: int) -> Any:
        messages = body["messages"]
        lost = messages[0]["content"] == PERSONAS["pirate"] and turns_of(body) == 3
        return (400, {}) if lost else small_talk(body)

    with server(fails) as chat:
        ask(chat, tmp_path)
    outcomes = read_outcomes(tmp_path)
    lost = outcomes[outcomes["verdict"] == "unscored"]
    assert set(zip(lost["persona"], lost["turns"], lost["reason"], strict=True)) == {
        ("pirate", 5, "api_error")
    }
    assert len(lost) == QUESTIONS
    facts = {each.facts["turns"]: each.facts for each in find_samples(tmp_path)}
    assert facts[5]["conversations"] == {"held": 24, "lost": 4, "cut_off": 0}
    assert facts[2]["conversations"]["lost"] == 0
    with server() as chat:
        ask(chat, tmp_path)
        assert len(chat.requests) == 2 * SCRIPTS + QUESTIONS
    assert (read_outcomes(tmp_path)["verdict"] != "unscored").all()


# ------------------------------------------------------------------------------- drift
def fading(strength: float) -> Any:
    """A model that grows worse from round to round, and whose pirate talks like one for two."""
    questions = choose_questions(BENCHMARK.load(None, 0), 40, 0)
    answers = {BENCHMARK.prompt(each.problem): int(each.answer) for each in questions}

    def reply(body: dict[str, Any], number: int) -> dict[str, Any]:
        if (talk := small_talk(body)) is not None:
            return talk
        messages, turns = body["messages"], turns_of(body)
        digest = hashlib.sha256(json.dumps(messages).encode()).digest()
        right = digest[0] / 256 < 0.9 - strength * turns
        answer = answers[messages[-1]["content"]] + (0 if right else 1)
        pirate = messages[0]["content"] == PERSONAS["pirate"] and turns <= 2
        words = ("Arr, matey, it be", "I think it is", "So we get", "That makes")
        said = f"{words[0 if pirate else 1 + digest[1] % 3]} \\boxed{{{answer}}}."
        message = {"role": "assistant", "content": said}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    return reply


@pytest.fixture(scope="module")
def faded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two models of which one grows worse over a conversation."""
    folder = tmp_path_factory.mktemp("faded")
    for name, strength in (("steady", 0.0), ("fading", 0.1)):
        with server(fading(strength)) as chat:
            ask(chat, folder / name, n_questions=24)
    return {name: folder / name for name in ("steady", "fading")}


def test_drift_is_found_with_the_turn_at_which_a_persona_is_lost(
    faded: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from persona_bench.commands.score import score_folder

    score_folder(faded["fading"], faded["fading"] / "scores")
    said = " ".join(capsys.readouterr().out.split())
    assert "no longer from 5 turns on: pirate" in said
    record = json.loads((faded["fading"] / "scores/persona_arithmetic_drift.json").read_text())
    (slope,) = [
        each for each in record["slopes"] if (each["measure"], each["persona"]) == ("accuracy", "")
    ]
    assert slope["low"] < -0.1 < slope["high"] < 0
    assert slope["conversations"] == len(PERSONAS) * SCRIPTS
    told = {(each["persona"], each["turns"]): each for each in record["told"]}
    assert [told["pirate", turns]["told"] for turns in TURNS] == [True, True, False]
    assert told["pirate", 2]["accuracy"] == 1
    page = (faded["fading"] / "scores/index.html").read_text()
    assert "persona_arithmetic: small, over a conversation" in page
    assert (faded["fading"] / "scores/persona_arithmetic_drift.pdf").is_file()


def test_drifts_of_two_models_are_compared(
    faded: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from persona_bench.report.compare import compare_runs
    from persona_bench.results.runs import read_runs

    runs = read_runs([f"{name}={folder}" for name, folder in faded.items()], asked=True)
    compare_runs(runs, tmp_path)
    assert "Drift of accuracy per round: steady" in capsys.readouterr().out
    record = json.loads((tmp_path / "persona_arithmetic_drift_comparison.json").read_text())
    slope = next(each for each in record["slopes"] if each["persona"] == "")
    assert slope["low"] < -0.1 < slope["high"] < 0
    assert slope["p_value"] < 0.001
    assert "persona_arithmetic, over a conversation" in (tmp_path / "index.html").read_text()


def test_runs_with_other_numbers_of_turns_are_compared_where_both_have_them(
    faded: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from persona_bench.report.compare import compare_runs
    from persona_bench.results.runs import read_runs

    fewer = Path(shutil.copytree(faded["fading"], tmp_path / "fewer"))

    def compared() -> str:
        runs = read_runs([f"steady={faded['steady']}", f"fewer={fewer}"], asked=True)
        compare_runs(runs, None)
        return " ".join(capsys.readouterr().out.split())

    for file in fewer.rglob("samples_*_turns5_*"):
        file.unlink()
    with pytest.warns(UserWarning, match="is compared over 0, 2 turns, which both have"):
        assert "Drift of accuracy per round: steady" in compared()


def test_numbers_of_turns_asked_under_other_settings_make_no_drift(tmp_path: Path) -> None:
    from persona_bench.commands.score import score_folder

    with server() as chat:
        ask(chat, tmp_path, turns=[0, 2])
        ask(chat, tmp_path, turns=3, turn_tokens=64)
    with pytest.warns(UserWarning, match=r"different settings \(turn_tokens 256 and 64\)"):
        score_folder(tmp_path, tmp_path / "scores", page=False)
    assert not list((tmp_path / "scores").glob("*_drift*"))


# ------------------------------------------------------------------------------- a real model
def test_a_local_model_talks_before_the_question_and_leaves_a_trace(
    smollm2: Path, tmp_path: Path
) -> None:
    from persona_bench.harness.information import likelihoods
    from persona_bench.harness.run import Asked, Session
    from persona_bench.report.drift import drift_table
    from persona_bench.results.runs import TaskResults
    from persona_bench.scoring.drift import drift

    knobs = {
        "persona_set": "demo", "n_personas": 2, "n_questions": 4,
        "turns": [0, 2], "scripts": 2, "turn_tokens": 12,
    }  # fmt: skip
    arguments = {"pretrained": str(smollm2), "dtype": "float32"}
    with Session("hf", arguments, tmp_path, batch_size="8", device="cpu") as session:
        session.run([Asked("persona_arithmetic", knobs, {"max_gen_toks": 8})])
        files = sorted(find_samples(tmp_path), key=lambda each: each.facts["turns"])
        assert [each.facts["turns"] for each in files] == [0, 2]
        for row in files[1].records():
            turns = user_turns(row["doc"]["script"], 2)[:2]
            assert row["doc"]["conversation"][::2] == turns
            said = row["doc"]["conversation"][1::2]
            prompt = row["arguments"]["gen_args_0"]["arg_0"]
            talk = "".join(
                f"<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\n"
                for turn, reply in zip(turns, said, strict=True)
            )
            assert f"{talk}<|im_start|>user\n{row['doc']['prompt']}<|im_end|>" in prompt
            assert prompt.startswith(f"<|im_start|>system\n{row['doc']['system']}")
        traces = [likelihoods(each, session) for each in files]
    # every prompt was made again word for word, each persona's with its own conversation
    assert not any("word for word" in note for each in traces for note in each.notes)
    parts = [
        TaskResults(each, rows := read_responses(each), rows, likelihoods=trace.table)
        for each, trace in zip(files, traces, strict=True)
    ]
    found = drift(drift_table(parts))
    assert set(found.levels["measure"]) == {"accuracy", "information", "pss"}
    assert found.levels.set_index(["measure", "turns"]).at[("information", 2), "n"] == 8


def test_room_is_checked_before_anything_is_asked(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", TAGS)  # with a context of 4096
    with pytest.raises(MissingPersonaError, match="2 replies of up to 2000"):
        run(
            model="hf", model_args={"pretrained": str(model), "dtype": "float32"},
            tasks=["persona_arithmetic"], output_path=tmp_path / "out", device="cpu",
            metadata={"persona_set": "demo", "n_questions": 4, "turns": 2, "turn_tokens": 2000},
            gen_kwargs={"max_gen_toks": 4},
        )  # fmt: skip
    assert not list((tmp_path / "out").rglob("*.jsonl"))


def test_a_template_that_drops_earlier_turns_stops_the_run(tmp_path: Path) -> None:
    last = "{{ messages[0].content }}\n{{ messages[-1].content }}\n"
    model = tiny_model(tmp_path / "model", last)
    with pytest.raises(MissingPersonaError, match="drops earlier turns"):
        run(
            model="hf", model_args={"pretrained": str(model), "dtype": "float32"},
            tasks=["persona_arithmetic"], output_path=tmp_path / "out", device="cpu",
            metadata={"persona_set": "demo", "n_questions": 4, "turns": 2, "turn_tokens": 8},
            gen_kwargs={"max_gen_toks": 4},
        )  # fmt: skip
    assert not list((tmp_path / "out").rglob("*.jsonl"))


def test_a_chat_template_is_needed(tmp_path: Path) -> None:
    with server() as chat, pytest.raises(RunError, match="needs a chat template"):
        run(
            model="local-chat-completions", model_args={"model": "small", "base_url": chat.url},
            tasks=["persona_arithmetic"], output_path=tmp_path, apply_chat_template=False,
            metadata={"persona_set": "demo", "n_questions": 4, "turns": 2},
        )  # fmt: skip


def test_plain_lm_eval_refuses_and_says_why() -> None:
    from persona_bench.harness.run import Asked, load_tasks

    (task,) = load_tasks([Asked("persona_arithmetic", {"turns": 4, "n_questions": 4})], {})
    with pytest.raises(KnobError, match="needs persona-bench run"):
        task.build_all_requests(rank=0, world_size=1, apply_chat_template=False)


def test_a_dry_run_counts_replies_and_finds_those_in_the_store(tmp_path: Path) -> None:
    from persona_bench.harness.dry_run import plan_run
    from persona_bench.harness.run import Asked

    with server() as chat:
        arguments = {"model": "small", "base_url": chat.url, "num_concurrent": 8}
        knobs = {"persona_set": "demo", "n_questions": QUESTIONS}

        def planned(turns: list[int]) -> dict[str, tuple[int, int | None]]:
            asked = [Asked("persona_arithmetic", {**knobs, "turns": turns})]
            plans = plan_run("local-chat-completions", arguments, asked, tmp_path / "store")
            return {each.task: (each.prompts, each.done) for each in plans}

        assert planned([2]) == {"conversations": (48, 0), "persona_arithmetic_turns2": (48, 0)}
        ask(chat, tmp_path, turns=[2])
        n = len(chat.requests)
        assert planned([2, 3]) == {
            "conversations": (72, 48),
            "persona_arithmetic_turns2": (48, 48),
            "persona_arithmetic_turns3": (48, 0),
        }
        assert len(chat.requests) == n


def test_personas_around_other_tasks_talk_too(tmp_path: Path) -> None:
    questions = tmp_path / "tasks"
    questions.mkdir()
    rows = [{"q": f"Is {n} even?", "c": ["yes", "no"], "a": n % 2} for n in range(4)]
    (questions / "even.json").write_text(json.dumps(rows))
    for name, more in (
        ("even_choice", "output_type: multiple_choice\ndoc_to_choice: '{{c}}'\ndoc_to_target: a\n"),
        ("even_words", "output_type: generate_until\ndoc_to_target: '{{c[a]}}'\n"
         "generation_kwargs: {until: ['.'], max_gen_toks: 4}\n"
         "metric_list: [{metric: exact_match}]\n"),
    ):  # fmt: skip
        (questions / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ntest_split: test\ndoc_to_text: '{{{{q}}}}'\n"
            f"dataset_kwargs: {{data_files: {{test: {questions / 'even.json'}}}}}\n{more}"
        )
    from persona_bench.harness.run import Asked, Session

    model = tiny_model(tmp_path / "model", TAGS)
    knobs = {
        "persona_set": "demo", "n_personas": 2, "turns": [0, 1], "scripts": 2, "turn_tokens": 8,
    }  # fmt: skip
    arguments = {"pretrained": str(model), "dtype": "float32"}
    with Session("hf", arguments, tmp_path / "out", batch_size="8", device="cpu") as session:
        for role in ("native", "merge"):
            session.run(
                [
                    Asked(name, {**knobs, "system_role": role}, include_path=[str(questions)])
                    for name in ("even_choice", "even_words")
                ]
            )
            for samples in find_samples(tmp_path / "out"):
                if samples.facts["system_role"] != role or not samples.facts["turns"]:
                    continue
                for row in samples.records():
                    doc, prompt = row["doc"], row["arguments"]["gen_args_0"]["arg_0"]
                    turn = user_turns(doc["script"], 2)[0]
                    persona = doc["persona_prompt"]
                    opening = f"<system>{persona}</system>\n" if persona else ""
                    if role == "merge":
                        opening, turn = "", merged(persona, turn) if persona else turn
                    assert prompt == (
                        f"{opening}<user>{turn}</user>\n<assistant>{doc['conversation'][1]}"
                        f"</assistant>\n<user>Is {doc['question']} even?</user>\n<assistant>"
                    )


# ------------------------------------------------------------------------------- roles, by a study
@pytest.mark.slow
def test_a_study_of_roles_over_a_conversation_is_judged_and_compared(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        """Both models play a role at first; `b` no longer after three rounds."""
        messages, said = body["messages"], body["messages"][-1]["content"]
        if body["model"] == "judge":
            return Reply(verdict(5 if "in my role" in said.partition("Response: ")[2] else 2))
        if any(said.endswith(turn) for turn in SMALL_TALK):
            return Reply(f"Reply {len(messages)}")
        return Reply("I am a model." if body["model"] == "b" and turns_of(body) else "in my role")

    with JudgeServer(answer, ("a", "b", "judge")) as chat:
        endpoint = {"base_url": f"{chat.url}/chat/completions", "num_concurrent": 4}
        study = {
            "output_path": "out",
            "models": [
                {"name": name, "model": "local-chat-completions",
                 "model_args": {**endpoint, "model": name}}
                for name in ("a", "b")
            ],
            "tasks": ["persona_roleplay"],
            "metadata": {
                "persona_set": "demo", "questions_per_task": 2, "turns": [0, 3], "scripts": 2,
            },
            "judge": {"models": ["judge"], "base_url": chat.url, "concurrency": 4},
        }  # fmt: skip
        file = written(tmp_path, study)
        done = persona_bench("run", str(file), cwd=tmp_path)
    assert "persona_roleplay · b, over a conversation" in " ".join(done.stdout.split())
    scores = tmp_path / "out" / "scores"
    slopes = {}
    for name in ("a", "b"):
        record = json.loads((scores / name / "persona_roleplay_drift.json").read_text())
        (slopes[name],) = [
            each["slope"]
            for each in record["slopes"]
            if (each["measure"], each["persona"]) == ("fidelity", "")
        ]
    assert slopes == {"a": pytest.approx(0), "b": pytest.approx(-1)}
    done = persona_bench(
        "compare", "a=out/a", "b=out/b", "--out", "report", "--no-page", cwd=tmp_path
    )
    assert "Drift of fidelity per round: a +0.0000, b -1.0000" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_processes_that_share_the_conversations_ask_what_one_asks(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", TAGS)
    knobs = {"persona_set": "demo", "n_personas": 3, "n_questions": 3, "scripts": 3}
    knobs |= {"turns": [0, 2], "turn_tokens": 8}
    arguments = [
        "run", "--model", "hf", "--model-args", f"pretrained={model},dtype=float32",
        "--tasks", "persona_arithmetic", "--gen-kwargs", "max_gen_toks=4", "--batch-size", "2",
        "--metadata", json.dumps(knobs), "--device", "cpu",
    ]  # fmt: skip
    (tmp_path / "ranks.py").write_text(RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "ranks.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [*launch, *arguments, "--output-path", "two"],
        cwd=tmp_path, env=environment, check=True, timeout=500,
    )  # fmt: skip
    persona_bench(*arguments, "--output-path", "one", cwd=tmp_path)
    prompts = []
    for name in ("two", "one"):
        rows = [row for each in find_samples(tmp_path / name) for row in each.records()]
        prompts.append(sorted(row["arguments"]["gen_args_0"]["arg_0"] for row in rows))
    assert prompts[0] == prompts[1]
    segments = (tmp_path / "two").glob("store/generations/*/*.jsonl")
    records = [json.loads(line) for each in segments for line in each.read_text().splitlines()[1:]]
    asked = Counter(each["prompt"] for each in records if each["task"] == "conversations")
    assert len(asked) == 3 * 3 * 2
    assert set(asked.values()) == {1}
