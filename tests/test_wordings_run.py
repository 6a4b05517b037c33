"""Wordings and placebos from the knobs to the page, against a server of known rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persona_bench import load_persona_set, read_outcomes, stability
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.commands.score import score_folder
from persona_bench.harness.run import run
from tests.support.chat_server import ChatServer

N_QUESTIONS = 25
SET = """\
name: mine
version: 3
description: Five personas in two wordings, and placebos.
personas:
  - {id: none, kind: control, prompt: ""}
  - {id: good, kind: expert, prompts: [You add well., You add carefully and well.]}
  - {id: fair, kind: expert, prompts: [You add fairly., You add fairly and evenly.]}
  - {id: calm, kind: temperament, prompts: [You are calm., You are calm and quiet.]}
  - {id: bad, kind: harmful, prompts: [You add badly., You add badly and in haste.]}
  - {id: late, kind: harmful, prompts: [You are late., You are late and want to go.]}
"""
PLACEBOS = """\
name: placebos
version: 1
description: Two.
personas:
  - {id: rain, kind: placebo, prompts: [It rains., It has rained since noon.]}
  - {id: snow, kind: placebo, prompts: [It snows., It has snowed since noon.]}
"""
RATES = {"bad": 0.05, "late": 0.35, "fair": 0.7}


def test_a_run_of_all_wordings_beside_placebos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "mine.yaml", tmp_path / "placebos.yaml"]
    for file, text in zip(files, (SET, PLACEBOS), strict=True):
        file.write_text(text, encoding="utf-8")
    personas = [*load_persona_set(files[0]), *load_persona_set(files[1])]
    rates = {text: RATES.get(p.id, 1.0) for p in personas for text in p.wordings}
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    with ChatServer(rates, {BENCHMARK.prompt(q.problem): q.answer for q in questions}) as chat:
        asked = {
            "model": "local-chat-completions",
            "model_args": {"model": "small", "base_url": chat.url, "num_concurrent": 16},
            "tasks": ["persona_arithmetic"],
            "output_path": tmp_path / "out",
        }
        knobs = {"persona_set": str(files[0]), "placebos": str(files[1])}
        knobs["n_questions"] = str(N_QUESTIONS)
        run(**asked, metadata=knobs)
        first = len(chat.requests)
        run(**asked, metadata={**knobs, "wording": "all"})
        # the last wordings are those of the first run, and `none` has the same prompt twice
        assert (first, len(chat.requests) - first) == (8 * N_QUESTIONS, 7 * N_QUESTIONS)
        tally = dict(chat.tally)

    with pytest.warns(UserWarning, match="2 runs of persona_arithmetic"):
        outcomes = read_outcomes(tmp_path / "out")
    assert set(outcomes["persona_set"]) == {"mine 3"}
    assert len(outcomes) == 8 * 2 * N_QUESTIONS
    of_bad = outcomes[outcomes["persona"] == "bad"].groupby("wording")["correct"].sum()
    assert [of_bad[1], of_bad[2]] == [tally[text][0] for text in personas[4].wordings]
    (results, _) = sorted(tmp_path.glob("out/*/results_*.json"), reverse=True)
    stored = json.loads(results.read_text())
    facts = stored["configs"]["persona_arithmetic"]["metadata"]["persona_bench"]
    assert (facts["wording"], facts["placebos"]) == ("all", str(files[1]))
    plain = stability(outcomes, resamples=50)
    assert plain.n_personas == 6
    assert stored["results"]["persona_arithmetic"]["pss,none"] == pytest.approx(plain.pss)

    capsys.readouterr()
    with pytest.warns(UserWarning, match="2 runs"):
        score_folder(tmp_path / "out", tmp_path / "scores", full=True)
    printed = " ".join(capsys.readouterr().out.split())
    sentence = "The persona: the worst is worse than the worst placebo; its wordings agree."
    assert sentence in printed
    assert "PSS beyond placebo" in printed
    assert "Accuracy by wording" in printed
    record = json.loads((tmp_path / "scores" / "persona_arithmetic_stability.json").read_text())
    assert record["prompts"]["conclusion"] == "persona"
    assert record["prompts"]["pss_beyond_placebo"]["high"] < 1
    parts = {row["part"] for row in record["variance_parts"]["parts"]}
    assert {"wording", "placebo"} <= parts
    assert (tmp_path / "scores" / "persona_arithmetic_wordings.csv").is_file()
    page = (tmp_path / "scores" / "index.html").read_text(encoding="utf-8")
    for words in (sentence, "Of the variance of a verdict lies between personas", "by placebo"):
        assert words in page
