"""What is in the file: its data, its policy, and no markup of anybody else's."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench.report.page import PageContents, PageFigure, PageTable, Section, write_page
from persona_bench.report.page.contents import REQUIRED
from persona_bench.report.page.encode import CHUNK, encode_responses, unblock
from persona_bench.report.page.tables import encode_table
from persona_bench.report.page.write import SCRIPTS, SOURCES
from tests.report.page.made_up import contents, hostile, judged, responses

BLOCK = re.compile(r'<script type="application/octet-stream" id="data-([\w-]+)">([^<]*)</script>\n')


def blocks(frame: pd.DataFrame) -> dict[str, Any]:
    found = {}
    for text in encode_responses(frame):
        match = BLOCK.fullmatch(text)
        assert match, text[:200]
        found[match[1]] = unblock(text)
    return found


def decoded(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows again, from the blocks alone."""
    found = blocks(frame)
    index = found["index"]

    def texts(about: dict[str, Any]) -> list[str]:
        chunks = [found[f"{about['name']}-{number}"] for number in range(len(about["starts"]))]
        return [text for chunk in chunks for text in chunk]

    rows: list[dict[str, Any]] = [{"judgements": []} for _ in range(index["rows"])]
    for name, column in index["columns"].items():
        for row, code in zip(rows, column["codes"], strict=True):
            row[name] = column["values"][code]
    for name, about in index["pools"].items():
        pool = texts(about)
        for row, code in zip(rows, about["codes"], strict=True):
            row[name] = pool[code] if code >= 0 else None if name == "response" else ""
    for row, sample in zip(rows, index["sample"], strict=True):
        row["sample"] = sample
    said, words = index["judgements"], texts(index["judgements"]["pool"])
    for place, row_number in enumerate(said["row"]):
        judgement = {"score": said["score"][place]}
        for name, column in said["columns"].items():
            judgement[name] = column["values"][column["codes"][place]]
        judgement["justification"] = words[said["pool"]["codes"][place]]
        rows[row_number]["judgements"].append(judgement)
    return rows


def test_what_is_read_from_the_blocks_is_what_was_written() -> None:
    frame = pd.concat(
        [responses(4, 3, ("a", "b"), samples=2), judged(3, 3)], ignore_index=True
    ).astype(object)
    frame.loc[[0, 5], "response"] = None
    frame.loc[1, "response"] = "lone \ud83d, \x00, </script> and \u2028"
    frame.loc[2, "answer"] = float("nan")
    found = decoded(frame.sample(frac=1, random_state=0))
    keys = ["model", "task", "question", "persona", "sample"]
    key = lambda row: tuple(row[name] for name in keys)  # noqa: E731
    wanted = {key(row): {"conversation": "", **row} for row in frame.to_dict("records")}
    wanted[key(frame.loc[2])]["answer"] = ""
    assert {key(row): row for row in found} == wanted
    assert len(found) == len(frame)


def test_a_question_and_its_personas_stand_together() -> None:
    frame = responses(3, 4, ("a", "b"), samples=2)
    found = decoded(frame.sample(frac=1, random_state=1).sort_values("persona", kind="stable"))
    cells = [(row["question"], row["model"], row["persona"], row["sample"]) for row in found]
    for place in range(3):  # questions, then models, then personas
        starts = [cell[: place + 1] for cell in cells]
        assert len(list(dict.fromkeys(starts))) == sum(
            a != b for a, b in zip(starts, [None, *starts], strict=False)
        )
    assert [row["sample"] for row in found[:4]] == [0, 1, 0, 1]


def test_long_texts_are_cut_into_chunks_and_each_is_there_once() -> None:
    frame = responses(2, 3)
    frame["response"] = ["a" * CHUNK, "b" * (CHUNK // 2), "c" * CHUNK, "d", "d", "a" * CHUNK]
    found = blocks(frame)
    assert found["index"]["pools"]["response"]["starts"] == [0, 1, 3]
    assert [len(found[f"response-{number}"]) for number in range(3)] == [1, 2, 1]


def test_no_responses_are_an_empty_page_too(tmp_path: Path) -> None:
    for frame in (pd.DataFrame(), pd.DataFrame(columns=list(REQUIRED))):
        assert blocks(frame)["index"]["rows"] == 0
        assert write_page(contents(frame), tmp_path / "index.html").is_file()


def test_columns_that_are_missing_are_empty_or_named() -> None:
    frame = responses(1, 2)
    rows = decoded(frame[list(REQUIRED)])
    assert {row["answer"] for row in rows} == {""}
    assert {row["context"] for row in rows} == {""}
    with pytest.raises(ValueError, match=r"lack the columns persona, verdict; model, task"):
        blocks(frame.drop(columns=["persona", "verdict"]))


def test_the_same_contents_give_the_same_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    first = write_page(contents(responses()), tmp_path / "deep" / "index.html")
    second = write_page(contents(responses()), tmp_path / "other.html")
    assert first.read_bytes() == second.read_bytes()
    assert list(first.parent.iterdir()) == [first]


def test_a_page_that_can_t_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    page = write_page(contents(responses()), tmp_path / "index.html")
    before = page.read_bytes()
    with pytest.raises(ValueError, match="lack the column verdict"):
        write_page(contents(responses().drop(columns="verdict")), page)
    assert page.read_bytes() == before
    assert list(tmp_path.iterdir()) == [page]


class _Tags(HTMLParser):
    """The tags of a page as a browser reads them, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem and "type" not in self.tags[-1][1]:
            self.inside[self.cdata_elem] = self.inside.get(self.cdata_elem, "") + data


def tags(contents: PageContents, path: Path) -> _Tags:
    parser = _Tags()
    parser.feed(write_page(contents, path).read_text(encoding="utf-8"))
    return parser


def test_no_markup_of_anybody_else_reaches_the_page(tmp_path: Path) -> None:
    kind = [tag for tag, _ in tags(hostile(), tmp_path / "bad.html").tags]
    assert {"script", "img", "style"} <= set(kind)
    assert kind.count("style") == kind.count("img") == kind.count("h1") == 1
    attributes = [a for _, each in tags(hostile(), tmp_path / "bad.html").tags for a in each]
    assert not any(name.startswith("on") or name == "style" for name in attributes)
    scripts = [each for tag, each in tags(hostile(), tmp_path / "bad.html").tags if tag == "script"]
    assert [each for each in scripts if "type" not in each] == [{}]


def test_the_policy_knows_this_script_and_this_style_alone(tmp_path: Path) -> None:
    found = tags(contents(responses()), tmp_path / "index.html")
    policy = next(
        a["content"] for tag, a in found.tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )  # fmt: skip
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for rule, tag in (("script-src", "script"), ("style-src", "style")):
        digest = hashlib.sha256(found.inside[tag].encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"


def test_the_scripts_make_no_markup_and_reach_no_network() -> None:
    listed = {*SCRIPTS, "page.css", "page.html"}
    assert {file.name for file in SOURCES.iterdir() if file.suffix in (".js", ".css", ".html")} == (
        listed
    )
    for name in SCRIPTS:
        source = (SOURCES / name).read_text(encoding="utf-8")
        source = source.replace("http://www.w3.org/", "")  # names of SVG's and MathML's elements
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(",
                     "fetch(", "XMLHttp", "import(", "http:", "https:", "</script"):  # fmt: skip
            assert word not in source, (name, word)


def test_texts_of_the_report_are_in_the_file_as_text(tmp_path: Path) -> None:
    source = write_page(hostile(), tmp_path / "bad.html").read_text(encoding="utf-8")
    body = source[: source.index("<script type=")]
    assert html.escape("</script><script>window.__pwned = 2</script>") in body
    assert "window.__pwned = 2</script>" not in body
    assert "lone" in body  # what UTF-8 can't hold does not stop it


def test_two_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    table = PageTable("t", "T", pd.DataFrame({"a": [1]}))
    figure = PageFigure("t", "T", "", svg="<svg/>")
    one = Section("s", "S", [], [table], [figure])  # a table and a figure may share a name
    write_page(contents(pd.DataFrame(), sections=[one]), tmp_path / "index.html")
    for sections, message in (
        ([one, one], "two sections have one name: s"),
        ([Section("s", "S", [], [table, table], [])], "tables of the section 's'.*: t"),
        ([Section("s", "S", [], [], [figure, figure])], "figures of the section 's'.*: t"),
    ):
        with pytest.raises(ValueError, match=message):
            write_page(contents(pd.DataFrame(), sections=sections), tmp_path / "index.html")


def test_cells_keep_their_numbers_beside_how_they_are_written() -> None:
    table = pd.DataFrame(
        {
            "x": [0.123456, float("nan"), float("inf"), -2.0],
            "n": [1, 20, 300, 4000],
            "mixed": ["a", 1.5, None, True],
            "flag": [True, False, True, False],
        }
    )
    encoded = encode_table(table, {"x": ".3f"})
    x, n, mixed, flag = encoded["columns"]
    assert encoded["rows"] == 4
    assert x["shown"] == ["0.123", None, "inf", "-2.000"]
    assert x["numbers"][:2] == [0.123456, None]
    assert x["numbers"][2] > 1e308
    assert n["numbers"] == [1, 20, 300, 4000]
    assert n["shown"] == ["1", "20", "300", "4,000"]
    assert mixed == {"name": "mixed", "texts": ["a", "1.5", None, "yes"]}
    assert flag == {"name": "flag", "texts": ["yes", "no", "yes", "no"]}
    assert json.dumps(encoded, allow_nan=False)
    with pytest.raises(ValueError, match="the format 'nonsense' of the column 'x'"):
        encode_table(table, {"x": "nonsense"})
