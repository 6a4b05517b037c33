"""What several measures share: labels from the tidy table, settings, plain records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def check_settings(confidence: float, resamples: int) -> None:
    """Raises ValueError for a confidence outside (0, 1) or fewer than one resample."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, but at least 1 is needed")


def labels(table: pd.DataFrame, unit: str, column: str, names: Sequence[str]) -> list[str]:
    """The text in `column` for each of `names`, which are values of the column `unit`.

    Empty where the column is not there or says nothing. Whole numbers lose their `.0`, so that
    a level reads the same whether or not another one is missing.

    Raises ValueError where one name has more than one label.
    """
    if column not in table.columns:
        return [""] * len(names)
    pairs = table[[unit, column]].drop_duplicates()
    pairs = pairs.assign(label=[_text(value) for value in pairs[column]])
    pairs = pairs[[unit, "label"]].drop_duplicates()
    if (several := pairs[unit].duplicated(keep=False)).any():
        first = pairs[several].sort_values([unit, "label"])[unit].iloc[0]
        found = sorted(pairs.loc[pairs[unit] == first, "label"])
        raise ValueError(
            f"{unit} {first} has more than one {column}: {', '.join(map(repr, found))}; give each "
            f"{unit} the same {column} in all of its rows"
        )
    return list(pairs.set_index(unit)["label"].reindex(list(names), fill_value=""))


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
