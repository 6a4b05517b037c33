"""Which pairs of question and persona a run asks: the knob `design`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Pairs = frozenset[tuple[str, str]]


class DesignError(ValueError):
    """A design that can't be read, or that asks what is not there."""


def read_design(
    source: str | Mapping[str, Any], questions: Sequence[str], personas: Sequence[str]
) -> Pairs:
    """The (question, persona) pairs of a design.

    Args:
        source: The path of a .csv with columns question and persona, or of a .json with a
            list of [question, persona] pairs; or {"share": 0.1, "seed": 0}, for a balanced
            random one (`screening_design`).
        questions: The ids that the other knobs chose.
        personas: Likewise.

    Raises:
        DesignError: one sentence that says what is wrong, where, and what to do.
    """
    if isinstance(source, Mapping):
        table = _drawn(source, questions, personas)
        where = "design"
    else:
        table = _read(Path(source))
        where = str(source)
    if table.empty:
        raise DesignError(f"{where}: the design has no pair to ask")
    if (twice := table.duplicated()).any():
        row = table[twice].iloc[0]
        raise DesignError(f"{where}: {row['question']}, {row['persona']} is given twice")
    for column, ids in (("question", questions), ("persona", personas)):
        unknown = sorted(set(table[column]) - set(ids))
        if unknown:
            close = get_close_matches(unknown[0], ids, n=1)
            raise DesignError(
                f"{where}: no {column} {unknown[0]!r} among the {len(ids)} of this run"
                + (f" (did you mean {close[0]!r}?)" if close else "")
                + "; make the design with the same persona_set, n_questions and persona_seed"
            )
    return frozenset(zip(table["question"], table["persona"], strict=True))


def _drawn(
    spec: Mapping[str, Any], questions: Sequence[str], personas: Sequence[str]
) -> pd.DataFrame:
    unknown = sorted(set(spec) - {"share", "seed"})
    if unknown or "share" not in spec:
        raise DesignError(
            f"design={dict(spec)!r} must have 'share' and may have 'seed', such as "
            '{"share": 0.1, "seed": 0}'
        )
    share, seed = spec["share"], spec.get("seed", 0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise DesignError(f"design: share={share!r} must be a number above 0 and at most 1")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DesignError(f"design: seed={seed!r} must be a whole number, 0 or more")
    return screening_design(questions, personas, share, seed)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in (".csv", ".json"):
        raise DesignError(f"design {str(path)!r} must be a .csv or a .json file")
    if not path.is_file():
        raise DesignError(f"design {path}: no such file")
    try:
        if path.suffix == ".json":
            pairs = json.loads(path.read_text(encoding="utf-8"))
            table = pd.DataFrame([(str(q), str(p)) for q, p in pairs])
            table = table if len(table) else pd.DataFrame(columns=[0, 1])
            return table.set_axis(["question", "persona"], axis=1)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return table[["question", "persona"]]
    except (ValueError, TypeError, KeyError, pd.errors.ParserError) as error:
        form = "a list of [question, persona]" if path.suffix == ".json" else "columns question "
        form += "" if path.suffix == ".json" else "and persona"
        raise DesignError(f"design {path}: must be {form} ({error})") from None


def is_sparse(pairs: Pairs) -> bool:
    """Whether some persona of the design lacks some question of it."""
    questions, personas = ({pair[i] for pair in pairs} for i in (0, 1))
    return len(pairs) < len(questions) * len(personas)


def design_record(pairs: Pairs) -> dict[str, Any]:
    """What the results file says of a design."""
    text = json.dumps(sorted(pairs)).encode()
    return {
        "pairs": len(pairs),
        "sparse": is_sparse(pairs),
        "fingerprint": hashlib.sha256(text).hexdigest()[:16],
    }


def screening_design(
    questions: Sequence[str], personas: Sequence[str], share: float, seed: int = 0
) -> pd.DataFrame:
    """A balanced random sparse design: columns question, persona; question by question.

    Every persona gets round(share * questions) questions, at least one, and no two questions
    differ by more than one persona. Which ones is random, so that personas overlap on
    different questions and the table hangs together.

    Raises:
        ValueError: a share outside of (0, 1], or names given twice.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} must be above 0 and at most 1")
    for what, names in (("question", questions), ("persona", personas)):
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"a design needs at least one {what}, and each of them once")
    each = max(1, round(share * len(questions)))
    return sparse_design(list(questions), list(personas), each, np.random.default_rng(seed))


def sparse_design(
    questions: list[str], personas: list[str], each: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Asks each persona `each` questions; no two questions differ by more than one persona."""
    asked = np.zeros((len(questions), len(personas)), dtype=bool)
    for column in rng.permutation(len(personas)):
        # the least asked first, in random order: keeps all within one of each other
        order = np.lexsort((rng.random(len(questions)), asked.sum(axis=1)))
        asked[order[:each], column] = True
    return design_pairs(asked, questions, personas)


def design_pairs(asked: np.ndarray, questions: list[str], personas: list[str]) -> pd.DataFrame:
    """The table of the pairs that a boolean matrix (questions x personas) marks."""
    row, column = np.nonzero(asked)
    return pd.DataFrame(
        {
            "question": np.array(questions, object)[row],
            "persona": np.array(personas, object)[column],
        }
    )
