"""How fast are grading, runs and scoring, beside what one would use without this project?

    make bench                                # all of it: ten to twenty minutes on two cores
    make bench BENCH="--data-dir FOLDER"      # without the hub: the folder has math500/test.jsonl
    make bench BENCH="grading --results DIR"  # on the responses of a run of one's own
    make bench BENCH="runs scoring store"     # only these parts

grading: responses/s of `grade_all`, of lm-eval's minerva_math500 grader, and of math-verify called
one by one, on a real model's responses to MATH-500 questions under the persona set `core`, with the
verdicts compared. runs: `persona-bench run` over the personas of `demo` against a separate `lm_eval
--system_instruction` run for each of them. scoring: 10,000 bootstrap replicates of a 500 x 100
table; a million stored responses read and scored, and 100,000 with figures and page. store: what
the store of finished work costs, and how fast a run continues (see bench_store.py). judge: calls/s
of judging beside what the endpoint could give (see bench_judge.py). train: a step of permix beside
one of TRL's own trainer (see bench_train.py). code: tests/s of programs beside LiveCodeBench's
runner (see bench_code.py). Figures of one machine are in
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK as ARITHMETIC
from persona_bench.benchmarks.math500 import BENCHMARK as MATH500
from persona_bench.benchmarks.sources import SourceError
from persona_bench.demo import demo_model
from scripts.bench_code import bench_code
from scripts.bench_judge import bench_judge
from scripts.bench_store import bench_store
from scripts.bench_train import bench_train

BIN = Path(sys.executable).parent
SHOWN = 20


def line(what: str, seconds: float, count: int, unit: str, peer: str = "") -> None:
    print(f"| {what} | {seconds:.2f} s | {count / seconds:,.1f} {unit}/s | {peer} |", flush=True)


def header(title: str) -> None:
    print(f"\n## {title}\n\n| what | time | speed | beside |\n|---|---|---|---|", flush=True)


# ------------------------------------------------------------------------------ grading
def make_grid(folder: Path, questions: int, tokens: int, data_dir: str | None) -> None:
    """A real model's responses to MATH-500 questions under `core`, once."""
    knobs: dict[str, Any] = {"n_questions": questions}
    if data_dir:
        knobs["data_dir"] = data_dir
    print(f"Making {questions} x 16 responses of up to {tokens} tokens in {folder}", flush=True)
    persona_bench_run("persona_math500", knobs, folder, tokens, batch="16", extra=("--seed", "0"))


WORDINGS = (
    "Arr, for $3 the treasure be $\\boxed{{{0}}}$, matey, as sure as 7 bells!",
    "First I tried $\\boxed{{0.123}}$, which fails.\n\nSo it is $\\boxed{{{0}}}$.",
    "Let us see.\n\nFinal Answer: The final answer is ${0}$. I hope it is correct.",
    "After some thought: ${0}$.",
)


def grid_outcomes(args: argparse.Namespace) -> pd.DataFrame:
    """The outcomes in `--results`; where it has none, the run is made, or resumed."""
    if not any(args.results.rglob("samples_*.jsonl")):
        make_grid(args.results, args.questions, args.tokens, args.data_dir)
    return read_outcomes(args.results)


def check_data(data_dir: str | None) -> None:
    """Ends with one sentence where MATH-500's questions can't be had, before anything runs."""
    try:
        MATH500.load(Path(data_dir) if data_dir else None, 0)
    except SourceError as error:
        sys.exit(
            f"bench: the part 'grading' needs the questions of MATH-500: {error}. "
            'Pass the folder as make bench BENCH="--data-dir FOLDER", or leave the part out: '
            f'make bench BENCH="{" ".join(part for part in PARTS if part not in NEED_DATA)}"'
        )


def bench_grading(args: argparse.Namespace) -> None:
    outcomes = grid_outcomes(args)
    every = MATH500.load(Path(args.data_dir) if args.data_dir else None, 0)
    questions, solutions = {q.id: q for q in every}, solutions_of(args.data_dir)
    real = [
        (str(r), questions[q])
        for r, q in zip(outcomes["response"], outcomes["question"], strict=False)
    ]
    compare_graders("a real model's responses under `core`", real, solutions)
    right = [(wording.format(q.answer), q) for wording in WORDINGS for q in every]
    compare_graders(f"reference answers in {len(WORDINGS)} wordings", right, solutions)


def compare_graders(what: str, pairs: list[tuple[str, Any]], solutions: dict[str, str]) -> None:
    responses, asked = [r for r, _ in pairs], [q for _, q in pairs]
    golds = [q.answer for q in asked]
    header(f"Grading {what}: {len(responses)}, on {os.cpu_count()} processors")
    line("grade_all, a new process", timed_cold(responses, golds), len(responses), "responses")
    ours, warm = timed_ours(responses, golds)
    line("grade_all, workers running", warm, len(responses), "responses")
    theirs, seconds = timed_minerva(responses, asked, solutions)
    beside = f"{seconds / warm:.1f} x"
    line("minerva_math500's grader", seconds, len(responses), "responses", beside)
    alone, seconds = timed_math_verify(responses, asked)
    beside = f"{seconds / warm:.1f} x"
    line("math-verify, one by one", seconds, len(responses), "responses", beside)
    print(f"\nRight: {sum(ours)} here, {sum(theirs)} minerva, {sum(alone)} math-verify alone")
    for name, other in (("minerva (math_verify)", theirs), ("math-verify", alone)):
        list_differences(name, ours, other, responses, golds)


def timed_cold(responses: list[str], golds: list[str]) -> float:
    """Seconds for everything, from the start of a process with its imports."""
    code = (
        "import json,sys; from persona_bench.grading.maths import grade_all; "
        "r, g = json.load(open(sys.argv[1])); grade_all(r, g)"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([responses, golds], file)
        file.flush()
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, file.name], check=True)
        return time.perf_counter() - started


def solutions_of(data_dir: str | None) -> dict[str, str]:
    """Reference solutions by question, which minerva's grader reads its gold from."""
    from persona_bench.benchmarks.math500 import FILE
    from persona_bench.benchmarks.sources import read_rows

    folder = Path(data_dir) if data_dir else None
    path = FILE.locate(folder)
    rows = read_rows(path, ("problem", "solution"))
    solutions = {row["problem"]: row["solution"] for row in rows}
    return {q.id: solutions[q.problem] for q in MATH500.load(folder, 0)}


def timed_ours(responses: list[str], golds: list[str]) -> tuple[list[bool], float]:
    from persona_bench.grading.maths import grade_all

    # start the workers; an answer that needs them, and is not among the responses
    grade_all([r"\boxed{\sqrt{7919} + x}"] * 2, [r"x + \sqrt{7919}", r"\sqrt{7920} + x"])
    started = time.perf_counter()
    verdicts = grade_all(responses, golds)
    return [v.verdict == "correct" for v in verdicts], time.perf_counter() - started


def timed_minerva(
    responses: list[str], asked: list[Any], solutions: dict[str, str]
) -> tuple[list[bool], float]:
    from lm_eval.tasks.minerva_math.utils import process_results

    started, found = time.perf_counter(), []
    for response, question in zip(responses, asked, strict=True):
        doc = {"answer": question.answer, "solution": solutions[question.id]}
        found.append(bool(process_results(doc, [response])["math_verify"]))
    return found, time.perf_counter() - started


def timed_math_verify(responses: list[str], asked: list[Any]) -> tuple[list[bool], float]:
    from math_verify import parse, verify

    started, found = time.perf_counter(), []
    for response, question in zip(responses, asked, strict=True):
        found.append(bool(verify(parse(f"${question.answer}$"), parse(response))))
    return found, time.perf_counter() - started


def list_differences(
    name: str, ours: list[bool], other: list[bool], responses: list[str], golds: list[str]
) -> None:
    differ = [i for i, (a, b) in enumerate(zip(ours, other, strict=True)) if a != b]
    print(f"\nVerdicts that differ from {name}: {len(differ)} of {len(ours)}\n")
    for i in differ[:SHOWN]:
        end = " ".join(responses[i].split())[-160:]
        print(f"- here {'right' if ours[i] else 'wrong'}; gold `{golds[i]}`; ends: {end!r}")


# --------------------------------------------------------------------------------- runs
def environment() -> dict[str, str]:
    return {**os.environ, "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}


def persona_bench_run(
    task: str,
    knobs: dict[str, Any],
    folder: Path,
    tokens: int,
    batch: str,
    extra: tuple[str, ...] = (),
) -> None:
    command = [
        str(BIN / "persona-bench"), "run", "--model", "hf", "--model_args",
        f"pretrained={demo_model()},dtype=float32", "--tasks", task, "--metadata",
        json.dumps(knobs), "--gen_kwargs", f"max_gen_toks={tokens}", "--batch_size", batch,
        "--device", "cpu", "--output_path", str(folder), *extra,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, env=environment(), stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit("bench: a run of persona-bench failed (see above); the same command resumes it")


def bench_runs(args: argparse.Namespace) -> None:
    personas = list(load_persona_set("demo"))
    n, tokens = args.run_questions, 32
    header(f"Runs: {len(personas)} personas x {n} sums, {tokens} tokens, SmolLM2-135M on CPU")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        knobs = {"persona_set": "demo", "n_questions": n}
        started = time.perf_counter()
        persona_bench_run("persona_arithmetic", knobs, folder / "ours", tokens, batch="32")
        ours = time.perf_counter() - started
        plain_task(folder, n)
        started = time.perf_counter()
        for i, persona in enumerate(personas):
            command = [
                str(BIN / "lm_eval"), "--model", "hf", "--model_args",
                f"pretrained={demo_model()},dtype=float32", "--tasks", "plain_sums",
                "--include_path", str(folder), "--apply_chat_template", "--gen_kwargs",
                f"max_gen_toks={tokens}", "--batch_size", "32", "--device", "cpu",
                "--output_path", str(folder / f"theirs{i}"), "--log_samples",
            ]  # fmt: skip
            if persona.prompt:
                command += ["--system_instruction", persona.prompt]
            subprocess.run(command, check=True, env=environment(), cwd=folder, capture_output=True)
        theirs = time.perf_counter() - started
    prompts = len(personas) * n
    line("persona-bench run, scored", ours, prompts, "responses")
    line(
        f"lm_eval --system_instruction, {len(personas)} times", theirs, prompts, "responses",
        f"{theirs / ours:.1f} x",
    )  # fmt: skip


def plain_task(folder: Path, n: int) -> None:
    """The same sums as a plain lm-eval task without personas."""
    rows = [
        {"prompt": ARITHMETIC.prompt(q.problem), "answer": q.answer}
        for q in ARITHMETIC.load(None, 0)[:n]
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "plain_sums.yaml").write_text(
        "task: plain_sums\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {folder / 'sums.jsonl'}\ntest_split: test\noutput_type: generate_until\n"
        'doc_to_text: "{{prompt}}"\ndoc_to_target: "{{answer}}"\n'
        "generation_kwargs:\n  until: []\n  do_sample: false\n"
        "metric_list:\n  - metric: exact_match\n"
    )


# ------------------------------------------------------------------------------ scoring
def bench_scoring(args: argparse.Namespace) -> None:
    from persona_bench.scoring.family import metrics_of
    from persona_bench.scoring.resampling import bootstrap, null_pss

    rng = np.random.default_rng(0)
    correct = rng.binomial(1, 0.5, (500, 100))
    ones = np.ones_like(correct)
    totals = np.concatenate([correct, ones, np.zeros((500, 4))], axis=1).astype(float)
    header("Scoring: 500 questions x 100 personas x 1 sample")
    for what, count, work in (
        ("bootstrap replicates", 10_000, lambda: bootstrap(totals, metrics_of, 10_000, rng)),
        ("exchanges of the noise floor", 2_000, lambda: null_pss(correct, ones, 2_000, rng)),
    ):
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        line(f"{count:,} {what}, {peak:.0f} MiB at most", seconds, count, "replicates")
    bench_tables()


def write_samples(folder: Path, questions: int, personas: int, samples: int) -> None:
    """A samples file of made-up responses, 2 kB each, as lm-eval writes them."""
    rng = np.random.default_rng(0)
    ease, effect = 1.5 * rng.standard_normal(questions), 0.5 * rng.standard_normal(personas)
    metrics = ["acc", "acc_se", "worst", "best", "pss", "pss_corrected", "noise_floor", "unscored"]
    response = "To solve this problem we add the two numbers, one digit at a time. " * 4
    folder.mkdir(parents=True)
    with (folder / "samples_persona_arithmetic_2026-01-01T00-00-00.jsonl").open("w") as file:
        for q, p, k in np.ndindex(questions, personas, samples):
            system, prompt = f"You are persona {p}, a baker.", f"What is {q} + 7?"
            chance = 1 / (1 + np.exp(-ease[q] - effect[p]))
            verdict = "correct" if rng.random() < chance else "wrong"
            reason = "" if verdict == "correct" else "wrong_answer"
            cell = {"question": f"q{q}", "persona": f"p{p}", "sample": k}
            given = {**cell, "verdict": verdict, "reason": reason, "route": "boxed", "answer": "7"}
            doc = {"kind": ("expert", "speech")[p % 2], "level": str(1 + q % 5), "answer": "7"}
            doc |= {**cell, "persona_prompt": system, "system": system, "prompt": prompt}
            text = f"{response}{q}, {p}, {k}"
            row = {"doc_id": k, "doc": doc, "target": "7", "filter": "none", "metrics": metrics}
            asked = {"arg_0": f"<system>{system}<user>{prompt}", "arg_1": {"max_gen_toks": 80}}
            row |= {"arguments": {"gen_args_0": asked}, "resps": [[text]], "filtered_resps": [text]}
            file.write(json.dumps(row | dict.fromkeys(metrics, given)) + "\n")


MEASURED = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
wall = time.perf_counter() - started
print(f"{wall:.1f} s, {used.ru_utime + used.ru_stime:.1f} s, {used.ru_maxrss / 1e6:.2f} GB")
"""


def bench_tables() -> None:
    """Whole processes, from the start of Python on."""
    print("\n| what | wall, processor, peak memory |\n|---|---|", flush=True)
    score = "import sys; from persona_bench import *; stability(read_outcomes(sys.argv[1]))"
    for what, sizes, command in (
        ("read and scored", (5000, 50, 4), [sys.executable, "-c", score]),
        ("score, with page", (500, 50, 4), [str(BIN / "persona-bench"), "score"]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            write_samples(Path(folder) / "model", *sizes)
            measured = [sys.executable, "-c", MEASURED, *command, folder]
            done = subprocess.run(measured, check=True, capture_output=True, text=True)
        print(f"| {np.prod(sizes):,} responses, {what} | {done.stdout.strip()} |", flush=True)


def code_part(args: argparse.Namespace) -> None:
    if not args.data_dir:
        print("\ncode: no reference solutions: name their mirror folder with --data-dir")
        return
    print("\n## Programs\n", flush=True)
    bench_code(args.data_dir, args.peer)


PARTS = {
    "grading": bench_grading,
    "runs": bench_runs,
    "scoring": bench_scoring,
    "store": lambda _: bench_store(header, line),
    "judge": lambda _: bench_judge(header, line),
    "train": lambda _: bench_train(header, line),
    "code": code_part,
}
NEED_DATA = ("grading", "code")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--results", type=Path, default=Path("bench-results/math500-core"))
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--run-questions", type=int, default=16)
    parser.add_argument("--data-dir", default=os.environ.get("PERSONA_BENCH_DATA"))
    parser.add_argument("--peer", type=Path, help="a checkout of LiveCodeBench's repository")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}: use {', '.join(PARTS)}")
    if "grading" in (args.parts or PARTS):
        check_data(args.data_dir)
    for part in args.parts or PARTS:
        PARTS[part](args)


if __name__ == "__main__":
    main()
