"""Cases of maths answers in data files, in the form that `scripts/grade_cases.py` reads.

The verdicts were written down before the grader was tried on them, in the styles of many models,
personas and languages. Cases that can be read in two ways are left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from persona_bench.grading import statements
from scripts import grade_cases
from scripts.grade_cases import difference, read_cases, verdicts_on

CASES = [
    case
    for file in sorted(Path(__file__).with_name("cases").glob("*.jsonl"))
    for case in read_cases(file)
]


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in CASES}))
def test_cases_of_a_kind(kind: str) -> None:
    cases = [case for case in CASES if case["kind"] == kind]
    assert len(cases) >= 6
    differing = map(difference, cases, verdicts_on(cases))
    assert [found for found in differing if found] == []


def test_a_word_that_is_looked_for_first_stands_in_every_statement() -> None:
    stated = [case for case in CASES if statements._STATEMENT.search(case["response"])]
    assert len(stated) > 500
    for case in stated:
        lowered = case["response"].lower()
        assert any(word in lowered for word in statements._STATEMENT_WORDS), case


def test_the_script_ends_with_1_where_a_verdict_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cases.jsonl"
    right = '{"kind": "k", "gold": "2", "response": "It is 2.", "verdict": "correct"}\n'
    wrong = '{"kind": "k", "gold": "2", "response": "It is 3.", "verdict": "correct"}\n'
    for text, code, last in ((right, 0, "1 of 1"), (right + wrong, 1, "1 of 2")):
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr("sys.argv", ["grade_cases", str(file)])
        with pytest.raises(SystemExit) as ended:
            grade_cases.main()
        assert int(ended.value.code or 0) == code
        assert capsys.readouterr().out.splitlines()[-1] == last
