"""The responses of any persona task, graded or judged, and how each was asked."""

from __future__ import annotations

import pandas as pd

from persona_bench.scoring.samples import OutcomesError, Samples, sample_values


def read_responses(samples: Samples) -> pd.DataFrame:
    """The responses of one samples file: a row each, in its order.

    Columns: persona, kind, question, sample, response (None where an API error left none);
    how it was asked: persona_prompt, system and prompt (the messages), and context (the rendered
    prompt, or what an API was sent; empty where it was not written down); what is known of the
    question: answer, level and subject; limit (the most tokens that were allowed); and verdict,
    reason, taken (the answer that was read from the response), route (how it was found) and tokens
    (how many the response has), empty where it was not graded or is not known.

    Raises:
        OutcomesError: a line that is no sample of a persona task.
    """
    rows = []
    names = "doc", "arguments", "resps", "metrics"
    metric = "acc"  # the first metric, whose value holds the verdict
    with samples.file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = sample_values(line, (*names, metric))
                if (first := next(iter(row.get("metrics") or ()), metric)) != metric:
                    metric = first
                    row = sample_values(line, (*names, metric))
                doc, response = row["doc"], row["resps"][0]
                while isinstance(response, list):  # lm-eval nests repeats
                    response = response[0] if response else None
                graded = row.get(metric)
                graded = graded if isinstance(graded, dict) else {}  # --predict_only: no verdict
                asked = (row.get("arguments") or {}).get("gen_args_0", {})
                limit = (asked.get("arg_1") or {}).get("max_gen_toks") or ""
                rows.append(
                    {
                        "persona": doc["persona"],
                        "kind": doc.get("kind", ""),
                        "question": doc["question"],
                        "sample": int(doc["sample"]),
                        "response": None if graded.get("reason") == "api_error" else response,
                        "persona_prompt": doc["persona_prompt"] or "",
                        "system": doc["system"] or "",
                        "prompt": doc["prompt"],
                        "context": asked.get("arg_0", ""),
                        "answer": doc.get("answer") or "",
                        "level": doc.get("level") or "",
                        "subject": doc.get("subject") or "",
                        "verdict": graded.get("verdict", ""),
                        "reason": graded.get("reason", ""),
                        "route": graded.get("route", ""),
                        "taken": graded.get("answer", ""),
                        "tokens": graded.get("tokens") or "",
                        "limit": limit,
                    }
                )
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                raise OutcomesError(
                    f"{samples.file}:{number}: not a sample of a persona task ({error!r}); was the "
                    "file cut off? Run the task again"
                ) from None
    if not rows:
        raise OutcomesError(f"{samples.file}: the file is empty; run the task again")
    table = pd.DataFrame(rows)
    table["response"] = pd.Series([row["response"] for row in rows], dtype=object)  # None stays
    return table
