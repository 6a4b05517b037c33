"""The settings of a judging: a study's `judge` block, or a file given to `persona-bench judge`.

models: [gpt-4o-mini]
audit: true
audited: 32
price: [0.15, 0.60]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from persona_bench.harness.study import StudyJudge
from persona_bench.judge.client import KEY_VARIABLE, JudgeError, JudgeSettings, Price
from persona_bench.judge.session import Plan
from persona_bench.yaml_files import read_mapping, validated

YAML = (".yaml", ".yml")


def read_judges(names: Sequence[str]) -> StudyJudge:
    """The settings in a YAML file, or the default settings of the named models.

    Raises:
        JudgeError: a file beside other judges, or what is wrong in the file.
    """
    files = [Path(name) for name in names if name.endswith(YAML)]
    if not files:
        return StudyJudge(models=list(names))
    if len(names) > 1:
        raise JudgeError(f"--judge {files[0]} names all judges: leave out the other --judge")
    what = "the settings of judges are a mapping with models, base_url, ..."
    data = read_mapping(files[0], what, JudgeError)
    return validated(StudyJudge, data, files[0], {}, JudgeError)


def judge_plan(
    settings: StudyJudge, store: Path, prices: Mapping[str, Price] | None = None
) -> Plan:
    """The plan of a judging.

    Args:
        settings: Which judges are asked, and how.
        store: The store's folder.
        prices: Prices by model, over those in the settings.

    Raises:
        JudgeError: a judge that is named twice, or a cost limit without a price.
    """
    by_name = settings.price
    if isinstance(by_name, tuple):
        by_name = dict.fromkeys(settings.names, by_name)
    price_of = {name: Price(*each) for name, each in (by_name or {}).items()} | dict(prices or {})
    urls, keys = settings.base_url, settings.api_key_variable
    judges = {
        name: JudgeSettings(
            model=name,
            base_url=urls.get(name) if isinstance(urls, dict) else urls,
            form=settings.form,
            gen_kwargs=settings.gen_kwargs,
            key_variable=keys.get(name, KEY_VARIABLE) if isinstance(keys, dict) else keys,
            timeout=settings.timeout,
            price=price_of.get(name),
        )
        for name in settings.names
    }
    return Plan(
        judges=[judges[name] for name in settings.models],
        store=store,
        concurrency=settings.concurrency,
        max_cost=settings.max_cost,
        examples=settings.examples,
        examples_by=judges[settings.examples_by] if settings.examples_by else None,
        audit=settings.audit,
        audited=settings.audited,
        entry_test=settings.entry_test,
        as_published=settings.as_published,
    )
