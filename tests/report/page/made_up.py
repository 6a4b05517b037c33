"""Pages with made-up contents: as small, as large and as hostile as the tests need them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from persona_bench.report.page import PageContents, PageFigure, PageTable, Section

WORDS = [
    "the",
    "of",
    "to",
    "and",
    "that",
    "we",
    "so",
    "is",
    "number",
    "first",
    "answer",
    "each",
    "then",
    "count",
    "value",
    "again",
    "ship",
    "sea",
    "gold",
    "step",
    "therefore",
    "because",
    "divide",
    "multiply",
    "remainder",
    "carry",
    "sum",
    "total",
    "twice",
    "half",
    "square",
    "root",
    "equation",
    "both",
    "sides",
    "left",
    "right",
    "solve",
    "check",
    "result",
    "final",
    "boxed",
    "arr",
    "matey",
    "captain",
    "harbour",
    "patient",
    "careful",
    "exact",
    "gentle",
    "weather",
    "letter",
    "window",
    "copper",
    "lantern",
    "morning",
    "garden",
    "river",
]
KINDS = ("control", "expert", "speech", "character", "harmful")
REASONS = ("wrong_answer", "no_answer", "truncated", "refused")
ROUTES = ("boxed", "stated", "last")


def texts(rng: np.random.Generator, n: int, sentences: tuple[int, int] = (9, 16)) -> list[str]:
    """Texts of about a thousand characters in which little repeats."""
    made = [
        " ".join(rng.choice(WORDS, size=length)).capitalize()
        + f" {rng.integers(10_000)} + {rng.integers(10_000)}."
        for length in rng.integers(8, 18, size=max(200, n // 3))
    ]
    lengths = rng.integers(*sentences, size=n)
    picks = rng.integers(len(made), size=int(lengths.sum()))
    ends = np.cumsum(lengths)
    return [
        " ".join(made[place] for place in picks[end - length : end])
        for length, end in zip(lengths, ends, strict=True)
    ]


def responses(
    n_questions: int = 12,
    n_personas: int = 16,
    models: tuple[str, ...] = ("small-model",),
    *,
    samples: int = 1,
    task: str = "persona_math",
    seed: int = 0,
) -> pd.DataFrame:
    """A graded task's responses; personas are worse the later they come."""
    rng = np.random.default_rng(seed)
    shape = (n_questions, n_personas, len(models), samples)
    question, persona, model, sample = (index.ravel() for index in np.indices(shape))
    n = question.size
    draw = rng.random(n)
    right = draw < 0.85 - 0.5 * persona / n_personas
    lost = rng.random(n) < 0.02
    asked = texts(rng, n_questions, (1, 4))
    prompts = ["", *(f"You are persona number {i}, {words}" for i, words in
                     enumerate(texts(rng, n_personas - 1, (1, 3)), start=1))]  # fmt: skip
    ids = [("none", *(f"persona-{i}" for i in range(1, n_personas)))[i] for i in persona]
    users = [f"{text}\n\nPut your final answer within \\boxed{{}}." for text in asked]
    context = [
        f"<|im_start|>system\n{prompts[p]}<|im_end|>\n<|im_start|>user\n{users[q]}<|im_end|>\n"
        for p, q in zip(persona, question, strict=True)
    ]
    reason = np.where(right, "", np.asarray(REASONS)[rng.integers(len(REASONS), size=n)])
    return pd.DataFrame(
        {
            "model": np.asarray(models, dtype=object)[model],
            "task": task,
            "question": [f"algebra/{q:03d}" for q in question],
            "question_text": [users[q] for q in question],
            "answer": [str(q * 7) for q in question],
            "persona": ids,
            "kind": np.asarray(KINDS, dtype=object)[persona % len(KINDS)],
            "level": [str(1 + q % 5) for q in question],
            "subject": [("Algebra", "Geometry", "Number theory")[q % 3] for q in question],
            "sample": sample,
            "verdict": np.where(lost, "unscored", np.where(right, "correct", "wrong")),
            "score": "",
            "reason": np.where(lost, "api_error", reason),
            "route": np.where(
                ~lost & np.isin(reason, ["", "wrong_answer"]),
                np.asarray(ROUTES)[np.arange(n) % len(ROUTES)],
                "",
            ),
            "taken": np.where(
                ~lost & np.isin(reason, ["", "wrong_answer"]),
                (question * 7 + ~right).astype(str),
                "",
            ),
            "tokens": (100 + np.arange(n) % 50).astype(str),
            "limit": "512",
            "voice": "",
            "reward": np.where(lost, "", np.where(right, "1.00", "0.00")),
            "response": texts(rng, n),
            "system": [prompts[p] for p in persona],
            "context": context,
            "judgements": [[] for _ in range(n)],
        }
    )


def judged(n_questions: int = 4, n_personas: int = 5, **more: Any) -> pd.DataFrame:
    """A judged task's responses, with two judges; those to the last question are not judged yet."""
    table = responses(n_questions, n_personas, task="persona_roleplay", **more)
    rng = np.random.default_rng(1)
    table["answer"] = table["level"] = table["reason"] = table["route"] = table["taken"] = ""
    table["reward"] = ""
    open_ = table["question"] == table["question"].iloc[-1]
    table["verdict"] = np.where(open_, "", "scored")
    table["judgements"] = pd.Series(
        [
            []
            if later
            else [
                {
                    "judge": judge,
                    "score": float(rng.integers(1, 6)),
                    "verdict": "scored",
                    "reason": "",
                    "justification": f"{judge} finds persona {who} at ease.",
                }
                for judge in ("judge-a", "judge-b")
            ]
            for later, who in zip(open_, table["persona"], strict=True)
        ],
        dtype=object,
    )
    return table


def table(rows: int = 30) -> PageTable:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "persona": ["none", *(f"persona-{i}" for i in range(1, rows))],
            "kind": [KINDS[i % len(KINDS)] for i in range(rows)],
            "accuracy": np.where(np.arange(rows) == 3, np.nan, rng.random(rows)),
            "interval": ["[0.612, 0.731]"] * rows,
            "n": rng.integers(1, 2000, size=rows),
        }
    )
    return PageTable(
        "personas", "Accuracy by persona", frame, "Intervals: 95%.", {"accuracy": ".3f"}
    )


def figure() -> PageFigure:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="180pt">'
        '<style>rect { fill: #0072b2; }</style><rect x="20" y="20" width="300" height="30"/>'
        '<text x="20" y="90" font-size="14">persona-1</text></svg>'
    )
    data = pd.DataFrame({"persona": ["none", "persona-1"], "accuracy": [0.81, 0.63]})
    return PageFigure(
        "accuracy", "Accuracy under each persona", "Bars: share correct.", svg=svg, data=data
    )


def contents(frame: pd.DataFrame, **more: Any) -> PageContents:
    section = Section(
        "math",
        "persona_math · small-model",
        ["Personas change this model's accuracy more than chance would (p < 0.001)."],
        [table()],
        [figure()],
    )
    parts: dict[str, Any] = {
        "title": "Persona Bench: small-model",
        "summary": ["PSS 0.712 [0.655, 0.771] on 12 questions and 16 personas."],
        "sections": [section],
        "responses": frame,
        "provenance": {"command": "persona-bench page out", "versions": {"lm_eval": "0.4.13"}},
    }
    return PageContents(**{**parts, **more})


# ------------------------------------------------------------------------------------ attacks
SCRIPT = "<script>window.__pwned = 1</script>"
ATTACKS = {
    "script": f"Before {SCRIPT} after",
    "end of script": "</script><script>window.__pwned = 2</script><!-- <script>",
    "html": "<img src=x onerror='window.__pwned=3'><h1 style=\"font-size:900px\">big</h1>&lt;&amp;",
    "end of page": "</main></body></html><style>* { display: none }</style></textarea></title>",
    "template": "{{a.constructor('window.__pwned=4')()}} ${window.__pwned=5} <!-- title -->",
    "200 KB without a space": "x" * 200_000,
    "right to left": "\u202e\u2066abc \u0627\u0644\u0639\n\u05e9\u05dc\u05d5\u05dd \u202b end",
    "emoji": "\U0001f469\U0001f3fd\u200d\U0001f680" * 40 + " \U0001f3f4\u200d\u2620\ufe0f",
    "accents": "e\u0301" + "\u0300" * 60,
    "halves of characters": "\ud83d lone \udc00 and \x00\x01\x1b[31m control\u2028lines\u2029",
    "line breaks": "\n" * 400 + "the end\r\n\ttab",
    "link": "javascript:window.__pwned=6 data:text/html,<script>window.__pwned=7</script>",
}  # fmt: skip


def hostile() -> PageContents:
    """Every text that others have a hand in is an attack."""
    names = [text[:400] for text in ATTACKS.values()]
    n = len(names)
    frame = pd.DataFrame(
        {
            "model": [names[0]] * n + [names[1]] * n,
            "task": names[2],
            "question": names[3],
            "question_text": ATTACKS["end of script"] + ATTACKS["200 KB without a space"][:5000],
            "answer": names[2],
            "persona": names * 2,
            "kind": names * 2,
            "level": names[5],
            "subject": names[0],
            "sample": 0,
            "verdict": (["correct", "wrong", "constructor", "unscored", ""] * n)[: 2 * n],
            "reason": names * 2,
            "response": [*ATTACKS.values()] * 2,
            "system": names * 2,
            "context": names * 2,
            "judgements": pd.Series(
                [
                    [
                        {
                            "judge": name,
                            "score": 2.0,
                            "verdict": "scored",
                            "reason": name,
                            "justification": text,
                        }
                    ]
                    for name, text in zip(names * 2, [*ATTACKS.values()] * 2, strict=True)
                ],
                dtype=object,
            ),
        },
        dtype=object,  # the others can't hold halves of characters
    )
    cells = pd.DataFrame(dict.fromkeys(("persona", names[0], names[5]), names), dtype=object)
    bad = names[1]
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' onload='parent.__pwned=8'>{SCRIPT}</svg>"
    section = Section(
        bad,
        bad,
        names,
        [PageTable(bad, bad, cells, bad)],
        [PageFigure(bad, bad, bad, svg=svg, data=cells)],
    )
    return PageContents(bad, names, [section], frame, {bad: names})
