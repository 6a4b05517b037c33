"""`persona-bench ratings`: a blind draw, and the files that come back."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_bench.judge.raters import RatingsError, draw, rateable, read_ratings
from persona_bench.judge.run import find_judged
from tests.support.command import Command, sentence
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import CAST, judge, settings, shown


def on_page(out: Path) -> list[dict[str, Any]]:
    """The responses on the rating page."""
    page = (out / "ratings" / "rate.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    return list(json.loads(data)["items"])


def truth(text: str) -> int:
    """What raters say of a response."""
    return 2 + sum(map(ord, text)) % 3


def kind(body: dict[str, Any], _: int = 0) -> Reply:
    """A judge that is a point too kind."""
    return Reply(verdict(truth(shown(body).response) + 1))


def write(file: Path, rater: str, scores: dict[str, int | str], separator: str = ",") -> Path:
    lines = ["item,rater,score,comment"]
    lines += [f'{item},{rater},{score},"so, ""yes"""' for item, score in scores.items()]
    text = "\r\n".join(lines).replace(",", separator) if separator != "," else "\r\n".join(lines)
    file.write_text(text + "\r\n", encoding="utf-8-sig")
    return file


def test_the_draw_is_balanced_nested_and_blind(out: Path, persona_bench: Command) -> None:
    pool = rateable(find_judged(out))
    assert len({each.item for each in pool}) == len(pool) == 60
    some, more = draw(pool, 30), draw(pool, 45)
    assert {each.item for each in some} < {each.item for each in more}
    assert Counter(each.response.persona for each in some) == dict.fromkeys(CAST, 5)
    assert [each.item for each in some] != sorted(each.item for each in some)
    assert len(draw(pool, 1000)) == 60

    ran = persona_bench("ratings", "export", out, "--n", "30")
    assert ran.code == 0
    assert "30 of 60 responses (1 model, 6 personas)" in ran.out
    page = (out / "ratings" / "rate.html").read_text(encoding="utf-8")
    assert "player" not in page  # the model
    assert {each["id"] for each in on_page(out)} == {each.item for each in some}


def test_each_response_is_drawn_with_the_same_chance(out: Path) -> None:
    pool = rateable(find_judged(out))[:-7]  # strata of different sizes
    times = Counter(each.item for seed in range(400) for each in draw(pool, 20, seed))
    expected = 400 * 20 / len(pool)
    assert min(times.values()) > expected * 0.7
    assert max(times.values()) < expected * 1.3


def test_ratings_come_back_and_correct_the_judge(out: Path, persona_bench: Command) -> None:
    with JudgeServer(kind) as server:
        judge(out, settings(server.url))
    persona_bench("ratings", "export", out, "--n", "40")
    items = on_page(out)
    scores = {each["id"]: truth(each["response"]) for each in items}
    ann = write(out.parent / "a.csv", "ann", {**scores, items[0]["id"]: ""})
    ben = write(out.parent / "b.csv", "ben", dict(list(scores.items())[5:25]), ";")
    ran = persona_bench("ratings", "import", out, ann, ben)
    assert ran.code == 0, ran.err
    assert "Kept: 59 ratings by 2 raters; 1 time a rater could not tell" in ran.err
    assert "39 responses rated by 2 raters; Krippendorff's alpha between them 1.000" in ran.out
    assert "judge against the raters: +1.00 points [1.00, 1.00] on average over 39" in ran.out
    scored = json.loads((out / "scores" / "persona_roleplay_fidelity.json").read_text())
    found = scored["raters"]["corrected"]
    assert found["persona_score"] == pytest.approx(found["judged"] - 1)
    assert found["n_rated"] == 39
    assert "PersonaScore corrected for the judges' error" in ran.out

    # more of the same rater's, later: newer ratings replace older ones
    ann = write(out.parent / "a.csv", "ann", {items[0]["id"]: 5, items[1]["id"]: 1})
    ran = persona_bench("ratings", "import", out, ann)
    assert "Kept: 60 ratings by 2 raters" in ran.err
    assert "40 responses rated by 2 raters" in ran.out


def test_ratings_may_come_before_any_judge(out: Path, persona_bench: Command) -> None:
    persona_bench("ratings", "export", out, "--n", "12")
    file = write(out.parent / "a.csv", "ann", {each["id"]: 3 for each in on_page(out)})
    ran = persona_bench("ratings", "import", out, file)
    assert ran.code == 0
    assert "Kept: 12 ratings by 1 rater" in ran.err
    with JudgeServer(kind) as server:
        ran = persona_bench("judge", out, "--judge", "judge", "--base-url", server.url)
    assert "12 responses rated by 1 rater; agreement between raters takes two." in ran.out


def test_raters_that_could_not_tell_leave_nothing_to_correct(
    out: Path, persona_bench: Command
) -> None:
    persona_bench("ratings", "export", out, "--n", "3")
    file = write(out.parent / "a.csv", "ann", {each["id"]: "" for each in on_page(out)})
    for _ in range(2):  # not judged yet, and judged
        ran = persona_bench("ratings", "import", out, file)
        assert ran.code == 0, ran.err
        assert "Kept: 0 ratings by 1 rater; 3 times a rater could not tell" in ran.err
        assert "No rater gave a score" in ran.err
        with JudgeServer(kind) as server:
            judge(out, settings(server.url))
    assert persona_bench("score", out).code == 0


def test_what_spreadsheets_and_pandas_write_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        "item,rater,score,comment\na,ann,4.0,\nb,ann,,page\x0cbreak\nc,ann,2,line\u2028two\n,,,\n",
        encoding="utf-8",
    )
    read = read_ratings([file], ["a", "b", "c"])
    assert list(read["score"].fillna(0)) == [4, 0, 2]
    assert list(read["comment"]) == ["", "page\x0cbreak", "line\u2028two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "its first line must name the columns item, rater, score, comment"),
        ("item,rater,score,comment\nITEM,,3,\n", "row 2 names no rater"),
        ("item,rater,score,comment\nITEM,ann,6,\n", "row 2: the score is '6', but must be a whole"),
        ("item,rater,score,comment\nITEM,ann,3.5,\n", "must be a whole number from 1 to 5"),
        ("item,rater,score,comment\nother,ann,3,\n", "(for instance 'other') are not in this run"),
        (
            "item,rater,score,comment\nITEM,ann,3,\nITEM,ann,4,\n",
            "the rater 'ann' scores the response ITEM in two ways (in a.csv): give each rater a "
            "name of their own",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RatingsError, match=re.escape(words)):
        read_ratings([file], ["ITEM"])


def test_a_file_that_is_gone_is_one_sentence(out: Path, persona_bench: Command) -> None:
    assert "can't be read" in sentence(persona_bench("ratings", "import", out, "nowhere.csv"))
    assert not (out / "ratings").exists()
