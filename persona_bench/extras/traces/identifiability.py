"""Identifiability: how often the persona can be told from the response.

    from persona_bench.extras.traces.identifiability import identifiability

    found = identifiability(responses)  # persona, question, sample, response
    print(found.accuracy, found.interval, found.no_trace, found.conclusion)

A classifier learns from the responses to some questions and names the persona of those to the
others, so that it can't go by a question. No judge and no model is needed.

**The test.** Permuting a finished classifier's answers against the labels is not valid: where two
responses in different folds are alike, either is named after the other, so that hits come in
pairs, and their spread without a trace is wider than such a permutation shows. The
labels have to be permuted before the classifier learns. Refitting logistic regression a thousand
times takes hours on a large run; the test therefore counts the hits of least squares on the
persona's indicator (kernel ridge regression; Rifkin & Lippert 2007) on the same features and folds,
whose refit is one product of matrices. Where labels are exchangeable within a question without a
trace it is exact, whatever the classifier; how well that one does is `tested_accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from persona_bench.scoring.estimate import Result, plain
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.information import ONE_PERSONA_NOTE, shuffled_within
from persona_bench.scoring.resampling import (
    CHUNK_CELLS,
    Counts,
    Floats,
    Interval,
    clustered_se,
    mean_interval,
    p_value,
    percentile_interval,
)

Embed = Callable[[list[str]], ArrayLike]

LOOSE = 10.0
"""Inverse strength of the penalty of logistic regression (scikit-learn's C)."""
RIDGE = 1.0
"""Penalty of the least squares that the test refits; rows have a length of about 1."""
TESTED_AT_MOST = 5000
"""Responses in the test, whose matrices grow with their square; of more, questions are drawn."""
MOST_TERMS = 50_000
"""Words and word pairs, and as many character sequences: the commonest of the training texts."""
TFIDF = "TF-IDF of words (1-2) and of characters (2-5)"


@dataclass(frozen=True)
class Identifiability(Result):
    """How often one model's personas can be told from its responses to one task."""

    accuracy: float
    """Share of responses whose persona is named rightly."""
    interval: Interval
    """Wilson's, on the standard error clustered by question."""
    chance: float
    """Share of the commonest persona: what naming it always would reach; 1 / personas where all
    have equally many responses."""
    no_trace: Interval
    """The middle `confidence` of the tested accuracy under permuted labels."""
    p_value: float
    """(1 + permutations with at least as many hits) / (1 + permutations), one-sided."""
    conclusion: str
    """`trace` where p_value <= (1 - confidence) / 2, else `no trace seen`; `not tested` without
    permutations."""
    tested_accuracy: float
    """That of the least-squares classifier behind the test; see the module."""
    per_persona: pd.DataFrame
    """persona, recall (share of its responses that are named rightly), low, high, taken_for (what
    its other responses are taken for most often; the first of a tie), n (responses),
    n_questions."""
    confusion: pd.DataFrame
    """Counts of responses: one row per persona, a column for what they were taken for."""
    named: pd.Series
    """The persona that each response is taken for, by the index of the responses."""
    features: str
    folds: int
    n_responses: int
    n_questions: int
    n_personas: int
    missing: int
    """Rows without a response (an API error), left out; an empty response is one."""
    confidence: float
    permutations: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `Result.to_dict`)."""
        record = super().to_dict()
        del record["named"]
        record |= record.pop("interval")
        no_trace = record.pop("no_trace")
        record |= {"no_trace_low": no_trace["low"], "no_trace_high": no_trace["high"]}
        return record | {"confusion": plain(self.confusion.to_dict("index"))}


def identifiability(
    responses: pd.DataFrame,
    *,
    embeddings: str | Embed | None = None,
    folds: int = 5,
    permutations: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Identifiability:
    """How often a classifier that learned on other questions names the persona of a response.

    TF-IDF of words and characters, or embeddings, and multinomial logistic regression; folds
    never divide a question.

    Args:
        responses: One row per response: persona, question and response, as text. Rows whose
            response is None are left out.
        embeddings: A model of the package sentence-transformers, or a function from n texts to
            an array (n, dimensions), instead of TF-IDF.
        folds: Number of folds of the cross-validation; fewer if there are fewer questions.
        permutations: Number of permutations of labels within questions, for the p-value; 0 gives
            none. If each question belongs to one persona, whole questions exchange labels.
        confidence: Level of the intervals.
        seed: Seed of the permutations.

    Raises:
        ValueError: a column is missing, fewer than two questions or personas, or embeddings that
            can't be had.
    """
    check_settings(confidence, max(permutations, 1))
    rows = _checked(responses, folds)
    texts = [str(text) for text in rows["response"]]
    names, own = np.unique(rows["persona"].astype(str).to_numpy(), return_inverse=True)
    question = pd.factorize(rows["question"])[0].astype(np.int64)
    with _one_thread():
        features, parts = _Features(texts, embeddings), _folds(question, folds)
        named = _named(own, features, parts)
        rng = np.random.default_rng(seed)
        tested = _test(own, question, features, parts, permutations, rng)
    p = p_value(-tested.null, -tested.accuracy) if permutations else float("nan")
    seen = "trace" if p <= (1 - confidence) / 2 else "no trace seen"
    hit = (named == own).astype(float)
    return Identifiability(
        accuracy=float(hit.mean()),
        interval=_share_interval(hit, question, confidence),
        chance=float(np.bincount(own).max() / len(own)),
        no_trace=percentile_interval(tested.null, confidence),
        p_value=p,
        conclusion=seen if permutations else "not tested",
        tested_accuracy=tested.accuracy,
        per_persona=_per_persona(named, own, question, list(names), confidence),
        confusion=_confusion(named, own, list(names)),
        named=pd.Series(names[named], index=rows.index),
        features=_name_of(embeddings),
        folds=len(parts),
        n_responses=len(own),
        n_questions=int(question.max()) + 1,
        n_personas=len(names),
        missing=len(responses) - len(rows),
        confidence=confidence,
        permutations=permutations,
        seed=seed,
        notes=tuple(_notes(own, question, parts, tested.n)),
    )


def _checked(responses: pd.DataFrame, folds: int) -> pd.DataFrame:
    for name in ("persona", "question", "response"):
        if name not in responses.columns:
            raise ValueError(f"the responses lack the column {name!r}")
    if folds < 2:
        raise ValueError(f"folds is {folds}, but at least 2 are needed")
    rows = responses[responses["response"].notna()]
    for name in ("question", "persona"):
        if rows[name].nunique() < 2:
            raise ValueError(
                f"there are responses to {rows[name].nunique()} {name}(s): identifiability needs "
                "at least two questions and two personas"
            )
    return rows


# ---------------------------------------------------------------------- features, by fold
class _Fold(NamedTuple):
    """Rows to learn from and rows to name."""

    learn: Counts
    name: Counts


def _folds(question: Counts, folds: int) -> list[_Fold]:
    from sklearn.model_selection import GroupKFold

    splits = GroupKFold(min(folds, int(question.max()) + 1)).split(question, groups=question)
    return [_Fold(learn, name) for learn, name in splits]


class _Features:
    """The features of n texts: TF-IDF, or vectors (n, dimensions) from elsewhere."""

    def __init__(self, texts: list[str], embeddings: str | Embed | None) -> None:
        self.texts = np.array(texts, dtype=object)
        self.vectors = None if embeddings is None else _embedded(texts, embeddings)

    def __call__(self, learn: Counts, name: Counts) -> tuple[Any, Any]:
        """Those of the rows `learn`, and of `name` as learnt from `learn` alone."""
        if self.vectors is not None:
            return _standardised(self.vectors[learn], self.vectors[name])
        return _tfidf(list(self.texts[learn]), list(self.texts[name]))


def _tfidf(learn: list[str], name: list[str]) -> tuple[Any, Any]:
    """TF-IDF vectors; those of words and of characters have length 1 each."""
    if not any(text.strip() for text in learn):  # no words to make a vocabulary of
        return np.zeros((len(learn), 1)), np.zeros((len(name), 1))
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    shared: dict[str, Any] = {"sublinear_tf": True, "max_features": MOST_TERMS}
    vectors = make_union(
        # punctuation and one-letter words tell of style too
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", **shared),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), lowercase=False, **shared),
    )
    learned = vectors.fit_transform(learn).tocsr()
    return learned, vectors.transform(name).tocsr() if name else learned[:0]


def _embedded(texts: list[str], embeddings: str | Embed) -> Floats:
    if isinstance(embeddings, str):
        from sentence_transformers import SentenceTransformer

        vectors = SentenceTransformer(embeddings).encode(texts, show_progress_bar=False)
    else:
        vectors = embeddings(texts)
    array = np.asarray(vectors, dtype=np.float64)
    if array.ndim != 2 or len(array) != len(texts) or not np.isfinite(array).all():
        raise ValueError(
            f"the embeddings of {len(texts)} texts have the shape {array.shape}: one row of finite "
            "numbers for each text is needed"
        )
    return array


def _standardised(learn: Floats, name: Floats) -> tuple[Floats, Floats]:
    """Each dimension with mean 0 and variance 1 / dimensions where it is learnt from."""
    mean, sd = learn.mean(axis=0), learn.std(axis=0)
    scale = np.where(sd > 0, sd, 1.0) * np.sqrt(learn.shape[1])
    return (learn - mean) / scale, (name - mean) / scale


def _name_of(embeddings: str | Embed | None) -> str:
    if embeddings is None:
        return TFIDF
    return f"embeddings by {embeddings if isinstance(embeddings, str) else 'a function'}"


def _one_thread() -> Any:
    """Several threads on matrices this small wait for each other, fifty times as long."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


# ---------------------------------------------------------------------- the classifier
def _named(own: Counts, features: _Features, folds: Sequence[_Fold]) -> Counts:
    """What logistic regression takes each response for."""
    from sklearn.linear_model import LogisticRegression

    named = np.empty_like(own)
    for fold in folds:
        labels = own[fold.learn]
        if (labels == labels[0]).all():  # a regression needs two classes
            named[fold.name] = labels[0]
        else:
            learned, asked = features(*fold)
            model = LogisticRegression(C=LOOSE, max_iter=1000).fit(learned, labels)
            named[fold.name] = model.predict(asked)
    return named


# ---------------------------------------------------------------------- the test
class _Tested(NamedTuple):
    """Accuracy of the least-squares classifier on n responses, and with permuted labels."""

    accuracy: float
    null: Floats
    n: int


def _test(
    own: Counts,
    question: Counts,
    features: _Features,
    folds: Sequence[_Fold],
    permutations: int,
    rng: np.random.Generator,
) -> _Tested:
    kept = _kept(question, rng)
    own, question = own[kept], question[kept]
    smoother = _smoother(features, folds, kept)
    (accuracy,) = _hits(smoother, own[None])
    null = [_hits(smoother, labels) for labels in _permuted(own, question, permutations, rng)]
    return _Tested(float(accuracy), np.concatenate(null) if null else np.empty(0), len(own))


def _kept(question: Counts, rng: np.random.Generator) -> Counts:
    """The rows in the test: all, or those of questions drawn up to `TESTED_AT_MOST`."""
    sizes = np.bincount(question)
    drawn = rng.permutation(len(sizes))
    within = np.cumsum(sizes[drawn]) <= TESTED_AT_MOST
    within[:2] = True  # two questions are the least to learn from one and name the other
    return np.flatnonzero(np.isin(question, drawn[within]))


def _smoother(features: _Features, folds: Sequence[_Fold], kept: Counts) -> NDArray[np.float32]:
    """The matrix (n, n) that takes labels (n, personas; 0 or 1) to scores of each persona.

    Kernel ridge regression: K(name, learn) (K(learn, learn) + RIDGE)^-1 for each fold, with
    K(x, y) = x.y + 1; 0 between the responses of a fold. Features are those of all the texts:
    no label is in them.
    """
    kernel = _product(features(kept, kept[:0])[0]) + 1
    whole = np.zeros(kernel.shape, dtype=np.float32)
    for fold in folds:
        learn = np.flatnonzero(np.isin(kept, fold.learn))
        name = np.flatnonzero(np.isin(kept, fold.name))
        if learn.size and name.size:
            learnt = kernel[np.ix_(learn, learn)] + RIDGE * np.eye(learn.size)
            whole[np.ix_(name, learn)] = np.linalg.solve(learnt, kernel[np.ix_(learn, name)]).T
    return whole


def _product(rows: Any) -> Floats:
    """x.y of all pairs of rows; sparse ones in dense blocks, which is several times as fast."""
    if not hasattr(rows, "toarray"):
        return np.asarray(rows @ rows.T)
    across, chunk = rows.T.tocsc(), max(1, CHUNK_CELLS // rows.shape[1])
    starts = range(0, rows.shape[0], chunk)
    return np.hstack([rows @ across[:, i : i + chunk].toarray(order="C") for i in starts])


def _permuted(
    own: Counts, question: Counts, permutations: int, rng: np.random.Generator
) -> Iterator[Counts]:
    """Labels (replicates, n) permuted within questions, else between whole questions."""
    if _shared(own, question):
        for places in shuffled_within(question, permutations, rng):
            yield own[places]
        return
    codes, first, place = np.unique(question, return_index=True, return_inverse=True)
    for places in shuffled_within(np.zeros_like(codes), permutations, rng):
        yield own[first][places][:, place]


def _hits(smoother: NDArray[np.float32], labels: Counts) -> Floats:
    """Accuracy of the classifier that learnt each row of `labels` (replicates, n)."""
    n, personas = len(smoother), int(labels.max()) + 1
    chunk = max(1, CHUNK_CELLS // (n * personas))
    shares = []
    for start in range(0, len(labels), chunk):
        some = labels[start : start + chunk]
        indicator = (some.T[:, :, None] == np.arange(personas)).astype(np.float32)
        scores = (smoother @ indicator.reshape(n, -1)).reshape(n, len(some), personas)
        shares.append((some == scores.argmax(axis=2).T).mean(axis=1))
    return np.concatenate(shares)


def _shared(own: Counts, question: Counts) -> bool:
    """Whether any question was put to two personas."""
    pairs = np.unique(np.stack([question, own]), axis=1)
    return bool(np.bincount(pairs[0]).max() > 1)


# ---------------------------------------------------------------------- what comes out
def _notes(own: Counts, question: Counts, parts: Sequence[_Fold], tested: int) -> list[str]:
    notes = [] if _shared(own, question) else [ONE_PERSONA_NOTE]
    if tested < len(own):
        notes.append(
            f"the p-value is of {tested:,} of the {len(own):,} responses: of questions drawn "
            "at random"
        )
    home = np.empty_like(own)
    for number, fold in enumerate(parts):
        home[fold.name] = number
    alone = [p for p in np.unique(own) if (home[own == p] == home[own == p][0]).all()]
    if alone:
        notes.append(
            f"{len(alone)} of the personas have all of their questions in one fold, where there is "
            "nothing to learn them from: they count as not recognised"
        )
    return notes


def _share_interval(hit: Floats, question: Counts, confidence: float) -> Interval:
    se = clustered_se(hit, question)
    return mean_interval(float(hit.mean()), se, len(np.unique(question)), confidence)


def _per_persona(
    named: Counts, own: Counts, question: Counts, names: list[str], confidence: float
) -> pd.DataFrame:
    rows = []
    for persona, name in enumerate(names):
        its = own == persona
        hit = (named[its] == persona).astype(float)
        ends = _share_interval(hit, question[its], confidence)
        mistaken = np.bincount(named[its][hit == 0], minlength=len(names))
        rows.append(
            {
                "persona": name,
                "recall": float(hit.mean()),
                "low": ends.low,
                "high": ends.high,
                "taken_for": names[int(mistaken.argmax())] if mistaken.any() else "",
                "n": int(its.sum()),
                "n_questions": len(np.unique(question[its])),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.sort_values(["recall", "persona"], ascending=[False, True], ignore_index=True)


def _confusion(named: Counts, own: Counts, names: list[str]) -> pd.DataFrame:
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (own, named), 1)
    return pd.DataFrame(
        counts, index=pd.Index(names, name="persona"), columns=pd.Index(names, name="taken for")
    )
