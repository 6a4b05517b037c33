"""People as raters: a page to rate responses on, and the ratings that come back.

The page is one HTML file that needs no server. It is blind: responses stand in a random order, and
nothing says which model gave them or what a judge said. Its ratings come back as CSV files, and are
kept in `ratings/ratings.csv` of the run's folder.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import random
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from persona_bench.benchmarks.rubrics import SCORES
from persona_bench.judge.responses import JudgedResponse, JudgedTask

COLUMNS = ("item", "rater", "score", "comment")
KEPT = "ratings.csv"
PAGE = "rate.html"
_TEMPLATE = Path(__file__).with_name("rating_page.html")
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class RatingsError(ValueError):
    """Ratings that can't be used; the message says which and why."""


class Rateable(NamedTuple):
    """A response that a person can rate.

    Attributes:
        item: Its id on the page: a hash that shows nothing of the model.
        judged: The task it belongs to, with the rubrics.
        response: The response.
    """

    item: str
    judged: JudgedTask
    response: JudgedResponse


def item_of(model: str, task: str, persona: str, question: str, sample: int, text: str) -> str:
    """The id of a response on the rating page."""
    parts = json.dumps([model, task, persona, question, int(sample), text])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def rateable(tasks: Iterable[JudgedTask]) -> list[Rateable]:
    """All responses with text of some tasks."""
    return [
        Rateable(
            item_of(
                judged.samples.model,
                judged.samples.task,
                each.persona,
                each.question,
                each.sample,
                each.item.response,
            ),
            judged,
            each,
        )
        for judged in tasks
        for each in judged.with_text
    ]


def draw(pool: Sequence[Rateable], n: int, seed: int = 0) -> list[Rateable]:
    """Draws `n` responses, each with the same chance, spread over models, personas and tasks.

    A systematic sample: within each stratum (model, task, persona, evaluation task) the responses
    stand in random order, the j-th of m at (j + u) / m with one random u; the first `n` of all
    are drawn. A larger sample with the same seed contains a smaller one.

    Returns:
        The drawn responses in random order.

    Raises:
        RatingsError: nothing can be rated.
    """
    if not pool:
        raise RatingsError("there is no response with text to be rated")
    rng = random.Random(f"{seed}/ratings")
    strata: dict[tuple[str, ...], list[Rateable]] = {}
    for each in sorted(pool, key=lambda each: each.item):
        samples, response = each.judged.samples, each.response
        key = (samples.model, samples.task, response.persona, response.item.eval_task)
        strata.setdefault(key, []).append(each)
    placed = []
    for _, members in sorted(strata.items()):
        rng.shuffle(members)
        start = rng.random()
        placed += [((j + start) / len(members), each) for j, each in enumerate(members)]
    drawn = [each for _, each in sorted(placed, key=lambda place: place[0])[:n]]
    rng.shuffle(drawn)
    return drawn


def write_rating_page(drawn: Sequence[Rateable], pool: Sequence[Rateable], path: Path) -> Path:
    """Writes the rating page.

    Args:
        drawn: The responses on it, in this order.
        pool: All responses of the run: they name the run, so that a page with more of its
            responses finds the ratings that a browser holds already.
        path: The file; its folder is made.
    """
    rubrics: dict[str, str] = {}
    items = []
    for each in drawn:
        name = f"{each.judged.rubric}/{each.response.item.eval_task}"
        rubric = each.judged.rubrics.rubrics[each.response.item.eval_task]
        rubrics.setdefault(name, rubric.criteria)
        shown = each.response.item
        texts = {"persona": shown.persona, "question": shown.question, "response": shown.response}
        items.append({"id": each.item, "rubric": name, **texts})
    of_run = hashlib.sha256("".join(sorted(each.item for each in pool)).encode()).hexdigest()[:16]
    data = json.dumps({"run": of_run, "items": items, "rubrics": rubrics}).replace("<", "\\u003c")
    page = _TEMPLATE.read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(_SCRIPT, page)}; style-src {_hash(_STYLE, page)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = page.replace("<!-- policy -->", escape(policy)).replace("<!-- data -->", data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def _hash(pattern: re.Pattern[str], page: str) -> str:
    (source,) = pattern.findall(page)
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


# ------------------------------------------------------------------------------- what comes back
def read_ratings(files: Sequence[Path], items: Iterable[str]) -> pd.DataFrame:
    """Reads the CSV files that raters saved, or a spreadsheet program after them.

    Args:
        files: One or more per rater.
        items: The ids of the run's responses.

    Returns:
        One row per rater and response: item, rater, score (NaN where the rater could not tell),
        comment.

    Raises:
        RatingsError: a file that is not from the page, of another run, with another score than 1
            to 5, or with two scores of one rater for one response.
    """
    items, rows = set(items), []
    for file in files:
        rows += [{**row, "file": file.name} for row in _rows(file)]
        if strange := [row["item"] for row in rows if row["item"] not in items]:
            raise RatingsError(
                f"{file}: {len(strange)} of its responses (for instance {strange[0]!r}) are not in "
                "this run: give the folder that the page was exported from"
            )
    table = pd.DataFrame(rows, columns=[*COLUMNS, "file"])
    table = table.drop_duplicates(["item", "rater", "score"], keep="last")
    twice = table[table.duplicated(["item", "rater"], keep=False)]
    if len(twice):
        first = twice.iloc[0]
        raise RatingsError(
            f"the rater {first['rater']!r} scores the response {first['item']} in two ways (in "
            f"{', '.join(sorted(set(twice['file'])))}): give each rater a name of their own"
        )
    return table[list(COLUMNS)].reset_index(drop=True)


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of one file, with `score` as a number."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RatingsError(
            f"{file}: can't be read ({error}): give the rater's CSV file, saved as UTF-8"
        ) from None
    head = text.splitlines()[0] if text.strip() else ""
    separator = max(",;\t", key=head.count)  # spreadsheet programs write others
    # as a stream: splitlines would end a line at a form feed or at U+2028 within a comment
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    if not {"item", "rater", "score"} <= set(reader.fieldnames or ()):
        raise RatingsError(
            f"{file}: not a file of the rating page: its first line must name the columns "
            f"{', '.join(COLUMNS)}"
        )
    rows = []
    for number, row in enumerate(reader, start=2):
        if not any((row[name] or "").strip() for name in ("item", "rater", "score")):
            continue  # an empty row of a spreadsheet
        score, rater = (row["score"] or "").strip(), (row["rater"] or "").strip()
        if not rater:
            raise RatingsError(f"{file}: row {number} names no rater")
        if score and score.removesuffix(".0") not in map(str, SCORES):  # pandas writes 4.0
            raise RatingsError(
                f"{file}: row {number}: the score is {score!r}, but must be a whole number from "
                f"{SCORES[0]} to {SCORES[-1]}, or empty"
            )
        rows.append(
            {
                "item": (row["item"] or "").strip(),
                "rater": rater,
                "score": float(score) if score else float("nan"),
                "comment": (row.get("comment") or "").strip(),
            }
        )
    return rows


def ratings_folder(results: Path) -> Path:
    """Where the rating page and the ratings of a run lie: in its output folder.

    A samples file belongs to the folder around it that has a store.
    """
    if results.is_dir():
        return results / "ratings"
    around = list(results.resolve().parents)[:3]
    return next((each for each in around if (each / "store").is_dir()), around[0]) / "ratings"


def keep_ratings(new: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Adds ratings to those that are kept; newer ones of the same rater and response replace them.

    Returns:
        All ratings that are kept now.
    """
    folder = ratings_folder(results)
    both = pd.concat([kept_ratings(results), new], ignore_index=True)
    both = both.drop_duplicates(["item", "rater"], keep="last").sort_values(["rater", "item"])
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{KEPT}.part"
    both.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n")
    partial.replace(folder / KEPT)
    return both.reset_index(drop=True)


def kept_ratings(results: Path) -> pd.DataFrame:
    """The ratings that were imported; an empty table where there are none."""
    file = ratings_folder(results) / KEPT
    if not file.is_file():
        return pd.DataFrame(columns=list(COLUMNS)).astype({"score": float})
    texts = {"item": str, "rater": str, "comment": str}
    return pd.read_csv(file, dtype=texts, keep_default_na=False, na_values={"score": [""]})


def ratings_of(judged: pd.DataFrame, results: Path) -> pd.DataFrame:
    """The ratings of the responses in a judged table.

    Returns:
        One row per rater and response: model, task, persona, eval_task, question, sample, rater,
        rating; without those where the rater could not tell.
    """
    ratings = kept_ratings(results).dropna(subset=["score"])
    names = ["model", "task", "persona", "eval_task", "question", "sample"]
    rows = judged.drop_duplicates(names)
    texts = ("model", "task", "persona", "question", "sample", "response")
    ids = [item_of(*row) for row in rows[list(texts)].itertuples(index=False)]
    rated = rows[names].assign(item=pd.Series(ids, rows.index, dtype=str))
    rated = rated.merge(ratings.astype({"item": str}), on="item")
    return rated.rename(columns={"score": "rating"})[[*names, "rater", "rating"]]
