"""Is a tidy table sound? What each response counts, and the errors that say why not."""

from __future__ import annotations

import pandas as pd


def check(outcomes: pd.DataFrame, *, placebos: bool = False) -> pd.DataFrame:
    """The table with names as text, `correct` and `score` as floats; or a ValueError that says why.

    `correct` or `score` may be missing; `correct` is then what the scores say. Rows of the kind
    `placebo` are left out unless `placebos` keeps them: a placebo is no persona.
    """
    needed = ["persona", "question", *(["correct"] if "score" not in outcomes.columns else [])]
    if lacking := [name for name in needed if name not in outcomes.columns]:
        raise ValueError(
            f"outcomes lack the column(s) {', '.join(lacking)}; they have "
            f"{', '.join(map(str, outcomes.columns)) or 'none'}"
        )
    if outcomes.empty:
        raise ValueError("outcomes are empty: there is no response to score")
    if "kind" in outcomes.columns and not placebos:
        outcomes = outcomes[outcomes["kind"] != "placebo"]
        if outcomes.empty:
            raise ValueError("outcomes hold only placebos: there is no persona to score")
    table = outcomes.reset_index(drop=True)
    _check_one_run(table)
    for name in ("persona", "question"):
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise ValueError(f"row {row} names no {name}")
        table[name] = table[name].astype(str)
    scored = "score" in table.columns
    if scored:
        table["score"] = _check_values(table, "score")
    if scored and "correct" not in table.columns:
        table["correct"] = table["score"].where(table["score"].isin([0.0, 1.0]))
    table["correct"] = _check_values(table, "correct")
    if scored:
        _check_agree(table)
    _check_unique(table)
    return table


def values_of(table: pd.DataFrame) -> pd.Series:
    """What each response counts, from 0 to 1: its score, else its verdict; NaN: unscored."""
    if "score" not in table.columns:
        return table["correct"]
    return table["score"].fillna(table["correct"])


def _check_one_run(table: pd.DataFrame) -> None:
    names = [name for name in ("model", "task") if name in table.columns]
    if not names:
        return
    pairs = table[names].drop_duplicates().astype(str)
    if len(pairs) > 1:
        found = "; ".join(
            sorted(
                ", ".join(f"{n}={v}" for n, v in row.items()) for row in pairs.to_dict("records")
            )
        )
        raise ValueError(
            f"outcomes hold more than one model and task ({found}): select one first, "
            'for instance outcomes.query("model == ... and task == ...")'
        )


def _check_values(table: pd.DataFrame, name: str) -> pd.Series:
    values = pd.to_numeric(table[name], errors="coerce").astype(float)
    allowed = values.between(0, 1) if name == "score" else values.isin([0.0, 1.0])
    bad = ~allowed & ~(values.isna() & table[name].isna())
    if bad.any():
        row = int(bad.to_numpy().argmax())
        meant = "numbers from 0 to 1" if name == "score" else "1.0, 0.0"
        hint = "" if name == "score" else "; values in between belong in a column score"
        raise ValueError(
            f"row {row} (persona {table.persona[row]}, question {table.question[row]}): {name} is "
            f"{table[name].tolist()[row]!r}, but only {meant} and NaN (unscored) are meant{hint}"
        )
    return values


def _check_agree(table: pd.DataFrame) -> None:
    correct, score = table["correct"], table["score"]
    if (differ := correct.notna() & score.notna() & (correct != score)).any():
        row = int(differ.to_numpy().argmax())
        raise ValueError(
            f"row {row} (persona {table.persona[row]}, question {table.question[row]}): correct is "
            f"{correct[row]:g}, but score is {score[row]:g}: give the one that counts"
        )


def _check_unique(table: pd.DataFrame) -> None:
    if "sample" not in table.columns:
        return  # every row is then a sample of its own
    twice = table.duplicated(["persona", "question", "sample"])
    if twice.any():
        row = table[twice.to_numpy()].iloc[0]
        raise ValueError(
            f"{int(twice.sum())} row(s) are given twice, for instance persona {row['persona']}, "
            f"question {row['question']}, sample {row['sample']}"
        )


def kinds_of(table: pd.DataFrame, personas: list[str]) -> list[str]:
    """The kind of each persona, empty where the table has none; ValueError for two of them."""
    if "kind" not in table.columns:
        return [""] * len(personas)
    kinds = table[["persona", "kind"]].fillna("").astype(str).drop_duplicates()
    if (several := kinds["persona"].duplicated(keep=False)).any():
        first = kinds[several].sort_values(["persona", "kind"])["persona"].iloc[0]
        found = sorted(kinds.loc[kinds["persona"] == first, "kind"])
        raise ValueError(f"persona {first} has more than one kind: {', '.join(map(repr, found))}")
    return list(kinds.set_index("persona")["kind"].reindex(personas))
