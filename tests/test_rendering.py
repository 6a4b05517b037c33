"""Chat templates as they are found in the wild, and what becomes of the persona in each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from persona_bench.rendering import (
    MissingPersonaError,
    check_persona,
    prompt_text,
    template_facts,
)

CHATML = """{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system
You are a default.<|im_end|>
{% endif %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
LLAMA = """{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}\
{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}<|system|>

Today is Monday.

{{ system }}<|end|>{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>\
{% endfor %}<|assistant|>"""
GEMMA3 = """{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}\
{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}\
{% for m in rest %}<turn>{{ m.role }}
{{ first if loop.first else '' }}{{ m.content }}</turn>{% endfor %}<turn>model
"""
REFUSES = """{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}\
{% endif %}<turn>{{ m.role }}
{{ m.content }}</turn>{% endfor %}<turn>model
"""
IGNORES = """{% for m in messages %}{% if m.role != 'system' %}<turn>{{ m.role }}
{{ m.content }}</turn>{% endif %}{% endfor %}<turn>model
"""


def as_lm_eval(source: str) -> Callable[..., str]:
    """A template as lm-eval's hf and vllm backends apply it: a refusal drops the system role."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=False)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment.globals["raise_exception"] = refuse
    template = environment.from_string(source)

    def apply(messages: list[dict[str, str]], **_: object) -> str:
        try:
            return template.render(messages=messages)
        except TemplateError:
            return template.render(messages=[m for m in messages if m["role"] != "system"])

    return apply


@pytest.mark.parametrize(
    ("source", "role", "default"),
    [
        (CHATML, "system", "You are a default."),
        (LLAMA, "system", ""),
        (GEMMA3, "folded", ""),
        (REFUSES, "dropped", ""),
        (IGNORES, "dropped", ""),
    ],
)
def test_template_facts_tell_system_role_and_default(source: str, role: str, default: str) -> None:
    assert template_facts(as_lm_eval(source)) == (role, default)


@pytest.mark.parametrize("source", [CHATML, LLAMA, GEMMA3])
@pytest.mark.parametrize("persona", ["You are a pirate.", "Two lines.\n\nAnd a  'quoted' one. "])
def test_a_persona_that_is_there_passes(source: str, persona: str) -> None:
    messages = [{"role": "system", "content": persona}, {"role": "user", "content": "2 + 2?"}]
    check_persona(as_lm_eval(source)(messages), persona, "pirate", "the template")


@pytest.mark.parametrize("source", [REFUSES, IGNORES])
def test_a_persona_that_was_dropped_stops_the_run(source: str) -> None:
    messages = [{"role": "system", "content": "Arr."}, {"role": "user", "content": "2 + 2?"}]
    with pytest.raises(MissingPersonaError, match=r"'pirate'.*the template of X.*merge"):
        check_persona(as_lm_eval(source)(messages), "Arr.", "pirate", "the template of X")


def test_the_json_of_api_backends_is_read() -> None:
    from lm_eval.models.api_models import JsonChatStr

    persona = 'A "quoted" persona\nof two lines with ünïcode'
    rendered = JsonChatStr(
        '[{"role": "system", "content": "A \\"quoted\\" persona\\nof two lines with ünïcode"},'
        ' {"role": "user", "content": "2 + 2?"}]'
    )
    assert persona in prompt_text(rendered)
    check_persona(rendered, persona, "p", "t")
    with pytest.raises(MissingPersonaError):
        check_persona(rendered, "another", "p", "t")
    assert template_facts(lambda messages, **_: rendered) == ("unknown", "")
