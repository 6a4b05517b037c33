"""Identifiability: planted traces, no trace, and the test behind the p-value."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.kernel_ridge import KernelRidge

from persona_bench import failures
from persona_bench.extras.traces import identifiability as module
from persona_bench.extras.traces.identifiability import identifiability
from persona_bench.scoring.information import ONE_PERSONA_NOTE

WORDS = [f"word{i}" for i in range(40)]


def responses(
    questions: int, personas: int, seed: int = 0, *, signs: list[str] | None = None, words: int = 12
) -> pd.DataFrame:
    """Random words; `signs` has a text that each persona puts at the end."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        [
            {
                "persona": f"p{p}",
                "question": f"q{q}",
                "sample": 0,
                "response": " ".join([*rng.choice(WORDS, words), *([signs[p]] if signs else [])]),
            }
            for q in range(questions)
            for p in range(personas)
        ]
    )


def one_hot(texts: list[str]) -> np.ndarray:
    """An embedding that knows the letters A to D."""
    return np.array([[float(text == letter) for letter in "ABCD"] for text in texts])


def test_a_planted_trace_is_found() -> None:
    table = responses(12, 4, signs=["Arr, matey!", "Indeed, sir.", "lol", "Verily, I say."])
    found = identifiability(table, permutations=200)
    assert found.accuracy > 0.9
    assert found.conclusion == "trace"
    assert found.p_value == pytest.approx(1 / 201)
    assert found.chance == 0.25
    assert found.interval.low < found.accuracy <= found.interval.high
    assert found.no_trace.high < found.interval.low
    assert (np.diag(found.confusion) >= 10).all()
    assert found.notes == ()


def test_random_words_are_at_chance() -> None:
    p, accuracies = [], []
    for seed in range(12):
        found = identifiability(responses(10, 4, seed), permutations=99)
        p.append(found.p_value)
        accuracies.append(found.accuracy)
    assert np.mean(accuracies) == pytest.approx(0.25, abs=0.07)  # 480 responses: sd 0.02 and more
    assert np.mean(np.asarray(p) <= 0.025) <= 0.25
    assert found.no_trace.low < 0.25 < found.no_trace.high


def test_the_test_is_exact_where_responses_come_in_pairs() -> None:
    """Each response has a twin in another question, and neither tells its persona.

    A classifier that learnt from the one names the other: permuting its answers against the
    labels gave p <= 0.025 in 8% of 300 such tables.
    """
    rng = np.random.default_rng(0)
    own, question = np.tile(np.arange(4), 10), np.repeat(np.arange(10), 4)
    p = []
    for _ in range(300):
        twins = np.stack([4 * pair + rng.permutation(4) for pair in (*range(5), *range(5))])
        vectors = np.eye(20)[twins[rng.permutation(10)].ravel()]
        features = module._Features(["x"] * 40, lambda _, found=vectors: found)
        tested = module._test(own, question, features, module._folds(question, 5), 79, rng)
        p.append(module.p_value(-tested.null, -tested.accuracy))
    assert np.mean(np.asarray(p) <= 0.025) <= 0.05  # 0.025 by chance, sd 0.009
    assert np.mean(np.asarray(p) <= 0.5) <= 0.6


def test_the_least_squares_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    own, question = np.tile(np.arange(3), 10), np.repeat(np.arange(10), 3)
    texts = list(responses(10, 3, words=5)["response"])
    features, folds = module._Features(texts, None), module._folds(question, 5)
    smoother = module._smoother(features, folds, np.arange(30))
    rows = features(np.arange(30), np.arange(0))[0].toarray()
    kernel = rows @ rows.T + 1
    for _ in range(5):
        labels = rng.permutation(own)
        named = np.empty(30, dtype=int)
        for fold in folds:
            ridge = KernelRidge(alpha=module.RIDGE, kernel="precomputed")
            ridge.fit(kernel[np.ix_(fold.learn, fold.learn)], np.eye(3)[labels[fold.learn]])
            named[fold.name] = ridge.predict(kernel[np.ix_(fold.name, fold.learn)]).argmax(axis=1)
        assert module._hits(smoother, labels[None])[0] == pytest.approx((named == labels).mean())


def test_by_hand() -> None:
    rows = []
    for q in range(8):
        rows.append(("a", f"q{q}", "B" if q == 0 else "A"))
        rows.append(("b", f"q{q}", "B"))
        rows.append(("c", f"q{q}", "C"))
    table = pd.DataFrame(rows, columns=["persona", "question", "response"])
    found = identifiability(table, embeddings=one_hot, permutations=50)
    assert found.accuracy == pytest.approx(23 / 24)
    assert found.confusion.to_dict("index") == {
        "a": {"a": 7, "b": 1, "c": 0},
        "b": {"a": 0, "b": 8, "c": 0},
        "c": {"a": 0, "b": 0, "c": 8},
    }
    personas = found.per_persona.set_index("persona")
    assert personas["recall"].to_dict() == {"b": 1.0, "c": 1.0, "a": 0.875}
    assert personas["taken_for"].to_dict() == {"b": "", "c": "", "a": "b"}
    assert personas["n"].tolist() == [8, 8, 8]
    assert personas.loc["b", "low"] < personas.loc["b", "high"] == 1.0
    assert found.features == "embeddings by a function"
    assert found.folds == 5
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["confusion"]["a"] == {"a": 7, "b": 1, "c": 0}


def test_a_question_is_not_learnt_from_itself() -> None:
    """Two samples of a cell are alike, and tell nothing of other questions."""
    once = responses(8, 4)
    table = pd.concat([once, once.assign(sample=1)])
    found = identifiability(table, permutations=99)
    assert found.accuracy < 0.5
    assert found.conclusion == "no trace seen"


@pytest.mark.parametrize("text", ["", " \n", "The answer is 4.", "?"])
def test_responses_that_are_all_alike(text: str) -> None:
    found = identifiability(responses(6, 3).assign(response=text), permutations=99)
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.p_value > 0.9
    assert found.conclusion == "no trace seen"


def test_silence_can_be_a_trace_and_an_api_error_is_not() -> None:
    table = responses(10, 3)
    table.loc[table["persona"] == "p0", "response"] = ""
    table.loc[table["question"] == "q3", "response"] = None
    found = identifiability(table, permutations=99)
    assert found.missing == 3
    assert found.n_responses == 27
    assert found.per_persona.set_index("persona").loc["p0", "recall"] == 1.0
    assert found.conclusion == "trace"


def test_questions_of_one_persona_each_are_noted() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"p{q % 3}", f"q{q}", " ".join([f"topic{q % 3}", *rng.choice(WORDS, 6)]))
        for q in range(30)
    ]
    table = pd.DataFrame(rows, columns=["persona", "question", "response"])
    found = identifiability(table, permutations=99)
    assert found.notes == (ONE_PERSONA_NOTE,)
    assert found.conclusion == "trace"
    mixed = table.assign(persona=rng.permutation(table["persona"]))
    assert identifiability(mixed, permutations=99).conclusion == "no trace seen"
    single = table.iloc[:3]
    assert "all of their questions in one fold" in identifiability(single, permutations=9).notes[1]


def test_large_runs_are_tested_on_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TESTED_AT_MOST", 24)
    found = identifiability(responses(12, 4, signs=["ah", "oh", "eh", "uh"]), permutations=99)
    assert found.n_responses == 48
    assert found.notes == (
        "the p-value is of 24 of the 48 responses: of questions drawn at random",
    )
    assert found.conclusion == "trace"


def test_without_permutations_nothing_is_concluded() -> None:
    found = identifiability(responses(4, 2), permutations=0)
    assert found.conclusion == "not tested"
    assert found.to_dict()["p_value"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="response"), "lack the column 'response'"),
        (lambda t: t[t["question"] == "q0"], "at least two questions"),
        (lambda t: t[t["persona"] == "p0"], "two personas"),
        (lambda t: t.assign(response=None), "at least two questions"),
    ],
)
def test_unusable_responses_raise_one_sentence(change: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identifiability(change(responses(3, 2)))


def test_embeddings_that_can_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModuleNotFoundError) as missing:
        identifiability(responses(3, 2), embeddings="all-MiniLM-L6-v2")
    assert "pip install sentence-transformers" in failures.explain(missing.value)
    with pytest.raises(ValueError, match=r"of 6 texts have the shape \(1, 4\)"):
        identifiability(responses(3, 2), embeddings=lambda texts: one_hot(texts[:1]))
