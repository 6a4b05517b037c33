"""The tidy table as a file: CSV, Parquet or JSONL, one row per response."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from persona_bench.personas import KINDS
from persona_bench.results.other_run import Choice, OtherRun
from persona_bench.results.samples import OutcomesError
from persona_bench.results.schema import CORRECT, Outcome

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl")
VALUES = ("correct", "score")
VERDICT = "verdict"
"""Stands for `correct` in a tidy table that has neither of the two."""
WORDS = {
    "true": 1.0, "yes": 1.0, "correct": 1.0,
    "false": 0.0, "no": 0.0, "wrong": 0.0, "incorrect": 0.0,
}  # fmt: skip
"""What may stand for 1 and 0 in the column `correct`, in any case."""
NAMES = ("model", "task", "persona", "kind", "question", "level", "subject", "method", "seed")
"""Columns whose cells are names: white space around a name is no part of it."""
OTHERS = {"doc", "resps", "generation"}
"""Fields of samples of lm-eval and outputs of NeMo-Skills."""
ALWAYS = ("persona", "question", "sample", "correct")
"""Columns that are written even where nothing stands in them."""
UNSCORED = ("", "nan", "none", "null", "na")
NO_TASK = "outcomes"
"""The task of a table that names none."""
MEND = "the columns are persona, question and correct (1, 0, or empty: unscored) or score (0 to 1)"
MEND_VALUE = {
    "correct": "write 1 or 0 (true or false, yes or no), or nothing where it is unscored",
    "score": "write a number from 0 to 1 (0.85 for 85%), or nothing where it is unscored",
}


def find(path: Path) -> list[Path]:
    """The file itself if it is a table; tables in folders are not looked for."""
    if not path.is_file() or not path.name.lower().endswith(SUFFIXES):
        return []
    if path.name.lower().endswith(".jsonl"):
        first = _first_record(path)
        if first is not None and "persona" not in first and OTHERS & set(first):
            return []
    return [path]


def _first_record(path: Path) -> dict[str, Any] | None:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            record = json.loads(lines.readline())
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def read(files: Sequence[Path], root: Path | None, choice: Choice) -> list[OtherRun]:
    """The runs in some tables; rows without a model are named after their file.

    Raises:
        OutcomesError: a missing column or an impossible value, with its line and mend.
    """
    choice.refuse("a table", f"{MEND}; write what you choose into these")
    tables = [_checked(file) for file in files]
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    runs = []
    for (model, task), rows in table.groupby(["model", "task"], sort=False):
        trained = rows[["method", "seed"]].drop_duplicates()
        for method, seed in trained.itertuples(index=False):
            own = rows[(rows["method"] == method) & (rows["seed"] == seed)].reset_index(drop=True)
            name = str(model) if len(trained) == 1 else f"{method}@{seed}"
            own["model"] = name
            runs.append(OtherRun(files[0], str(task), "", named=name, table=own, whole=False))
    return runs


def _checked(file: Path) -> pd.DataFrame:
    raw = _raw(file).rename(columns=lambda name: str(name).strip())
    if (twice := raw.columns[raw.columns.duplicated()]).any():
        raise OutcomesError(f"{file}:1: two columns are called {twice[0]!r}: leave one out")
    for name in ("persona", "question"):
        if name not in raw.columns:
            _missing(file, name, raw)
    if VERDICT in raw.columns and not set(VALUES) & set(raw.columns):
        raw = raw.assign(correct=_of_verdicts(file, raw[VERDICT]))
    if not set(VALUES) & set(raw.columns):
        _missing(file, "correct or score", raw)
    if raw.empty:
        raise OutcomesError(f"{file}: no rows: {MEND}")
    whole = {name: raw[name] if name in raw.columns else None for name in Outcome._fields}
    table = pd.DataFrame(index=raw.index)
    for name, default in Outcome._field_defaults.items():
        column = whole[name]
        if name in VALUES:
            values = [math.nan] * len(raw) if column is None else list(column)
            table[name] = [_value(file, n, name, value) for n, value in enumerate(values)]
        elif isinstance(default, float):
            table[name] = pd.to_numeric(column, errors="coerce") if column is not None else default
        elif isinstance(default, int) and name != "sample":
            numbers = default if column is None else pd.to_numeric(column, errors="coerce")
            table[name] = pd.Series(numbers, index=raw.index).fillna(default).astype(int)
        elif name == "response":
            table[name] = None if column is None else column
        elif column is None:
            table[name] = ""
        else:
            texts = [_text(value) for value in column]
            table[name] = [text.strip() for text in texts] if name in NAMES else texts
    for name in ("persona", "question"):
        if (empty := table[name] == "").any():
            _refuse(
                file, int(empty.to_numpy().argmax()), f"there is no {name}: name one in each row"
            )
    table["kind"] = _kinds(file, table["kind"])
    _warn_of_case(file, table["persona"])
    trained = (table["method"] != "") & (table["seed"] != "")
    unnamed = (table["method"] + "@" + table["seed"]).where(trained, _stem(file))
    table["model"] = table["model"].where(table["model"] != "", unnamed)
    lost = (table["reason"] == "api_error") & (table["response"] == "")
    table["response"] = table["response"].where(~lost, None)
    table["task"] = table["task"].where(table["task"] != "", NO_TASK)
    _fill_verdicts(file, table)
    _number_samples(file, table, given=whole["sample"] is not None)
    return table


def _kinds(file: Path, kinds: pd.Series) -> pd.Series:
    """The kinds in lower case. One that is nearly a known kind is refused; others stay.

    A misspelt `placebo` would count as a persona in the PSS.
    """
    kinds = kinds.str.lower()
    for kind in kinds.unique():
        if kind and kind not in KINDS and (close := get_close_matches(kind, KINDS, 1, 0.8)):
            _refuse(file, int((kinds == kind).argmax()), f"kind is {kind!r}: write {close[0]!r}")
    return kinds


def _warn_of_case(file: Path, personas: pd.Series) -> None:
    """Warns of personas that differ in upper and lower case alone; `none` is the control's name."""
    spelt = {"none": "none"}
    for persona in personas.unique():
        if (other := spelt.setdefault(persona.lower(), persona)) != persona:
            warnings.warn(
                f"{file}: persona {persona!r} counts as another than {other!r}"
                + (", the control" if other == "none" else "")
                + ": write one of them throughout if they are the same",
                stacklevel=2,
            )


def _of_verdicts(file: Path, verdicts: pd.Series[Any]) -> list[str]:
    """What `correct` would hold in a tidy table that has its verdicts alone."""
    known = {*CORRECT, "unscored"}
    for row, verdict in enumerate(verdicts):
        if verdict not in known:
            _refuse(file, row, f"verdict is {verdict!r}, and there is no correct or score: {MEND}")
    return ["" if verdict == "unscored" else verdict for verdict in verdicts]


def _fill_verdicts(file: Path, table: pd.DataFrame) -> None:
    """Makes `correct`, `score` and `verdict` agree."""
    correct, score = table["correct"], table["score"]
    if (differ := correct.notna() & score.notna() & (correct != score)).any():
        row = int(differ.to_numpy().argmax())
        _refuse(
            file, row, f"correct is {correct[row]:g}, but score is {score[row]:g}: leave one out"
        )
    table["correct"] = correct.fillna(score.where(score.isin([0.0, 1.0])))
    names = {value: name for name, value in CORRECT.items()}
    table["verdict"] = [
        names.get(right, "unscored" if math.isnan(value) else "scored")
        for right, value in zip(table["correct"], score, strict=True)
    ]


def _number_samples(file: Path, table: pd.DataFrame, *, given: bool) -> None:
    """The column `sample`: as given, else in the order of the rows of a cell."""
    cell = ["model", "task", "persona", "question"]
    if not given:
        table["sample"] = table.groupby(cell, sort=False).cumcount()
        return
    samples = pd.to_numeric(table["sample"], errors="coerce")
    if (bad := samples.isna() | (samples % 1 != 0)).any():
        row = int(bad.to_numpy().argmax())
        found = table["sample"][row]
        _refuse(file, row, f"sample is {found!r}: give 0, 1, 2, ..., or leave the column out")
    table["sample"] = samples.astype(int)
    if (twice := table.duplicated([*cell, "sample"])).any():
        row = int(twice.to_numpy().argmax())
        one = table.loc[row]
        _refuse(
            file,
            row,
            f"persona {one['persona']}, question {one['question']}, sample {one['sample']} stands "
            "here for the second time: number the samples 0, 1, 2, ..., or leave the column out",
        )


def _value(file: Path, row: int, name: str, value: Any) -> float:
    """One value of `correct` or `score`; NaN where it is unscored."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    text = str(value).strip().lower()
    if text in UNSCORED:
        return math.nan
    number = WORDS.get(text) if name == "correct" else None
    if number is None:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
    if math.isnan(number) or not 0 <= number <= 1:
        _refuse(file, row, f"{name} is {value!r}: {MEND_VALUE[name]}")
    if name == "correct" and number not in (0, 1):
        _refuse(file, row, f"correct is {value!r}: call the column score if values lie in between")
    return number


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _raw(file: Path) -> pd.DataFrame:
    """The file as it is, with texts as texts: a persona may be called None."""
    name = file.name.lower()
    try:
        if name.endswith(".parquet"):
            return pd.read_parquet(file)
        if name.endswith(".jsonl"):
            return _jsonl(file)
        return pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[])
    except OutcomesError:
        raise
    except UnicodeDecodeError as error:
        raise OutcomesError(f"{file}: not UTF-8 ({error}): save it as UTF-8") from None
    except Exception as error:  # of pandas and pyarrow, which have many
        raise OutcomesError(
            f"{file}: it can't be read as a table ({str(error).strip()}): {MEND}"
        ) from None


def _jsonl(file: Path) -> pd.DataFrame:
    records = []
    with file.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise OutcomesError(
                    f"{file}:{number}: not JSON ({error}): write one object per line"
                ) from None
            if not isinstance(record, dict):
                raise OutcomesError(f"{file}:{number}: not a JSON object: write one per line")
            records.append(record)
    return pd.DataFrame(records, dtype=object)


def _missing(file: Path, name: str, raw: pd.DataFrame) -> NoReturn:
    columns = list(map(str, raw.columns))
    lower = {column.lower(): column for column in columns}
    close = get_close_matches(name.split(" ")[0], list(lower), n=1, cutoff=0.7)
    hint = f"rename {lower[close[0]]!r}" if close else MEND
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        hint = "separate the columns by commas"
    raise OutcomesError(f"{file}:1: no column {name} (there are {', '.join(columns)}): {hint}")


def _refuse(file: Path, row: int, why: str) -> NoReturn:
    raise OutcomesError(f"{file}:{_line(file, row)}: {why}")


def _line(file: Path, row: int) -> int:
    """The line on which a row stands; of a Parquet file its number, from 1."""
    name = file.name.lower()
    if name.endswith(".parquet"):
        return row + 1
    if name.endswith(".jsonl"):
        with file.open(encoding="utf-8", newline="\n") as lines:
            filled = [number for number, line in enumerate(lines, start=1) if line.strip()]
        return filled[row]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(file, "rt", encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        filled = [reader.line_num for cells in reader if cells]
    return filled[row + 1]


def _stem(file: Path) -> str:
    name = file.name
    return next(name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end))


def write(table: pd.DataFrame, file: Path) -> None:
    """Writes a table by the file's suffix, without columns in which nothing stands.

    Raises:
        OutcomesError: another suffix.
    """
    held = {name: bool((table[name].notna() & (table[name] != "")).any()) for name in table}
    filled = table[[name for name, any_ in held.items() if any_ or name in ALWAYS]]
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".parquet":
        filled.to_parquet(file, index=False)
    elif file.name.lower().endswith((".csv", ".csv.gz")):
        filled.to_csv(file, index=False)
    else:
        raise OutcomesError(f"{file}: a table is written as .csv or .parquet")
