"""Is the persona in the prompt? What a chat template did with the messages it was given.

The hf and vllm backends catch a template that refuses a system role and drop the system
message with a warning (Gemma-2-style templates). A persona benchmark that missed this
would measure nothing, so every rendered prompt is checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

ChatTemplate = Callable[..., Any]

_SYSTEM = "persona-bench system probe"
_USER = "persona-bench user probe"


class MissingPersonaError(RuntimeError):
    """A rendered prompt lacks its persona."""


class TemplateFacts(NamedTuple):
    """What a chat template does by itself.

    Attributes:
        system_role: `system` (a message of its own), `folded` (put into the user
            message), `dropped`, or `unknown` (the server renders the messages).
        default_system: What the template puts as system message where none is given.
    """

    system_role: str
    default_system: str


def merged(persona: str, user: str) -> str:
    """The user message with the persona before it, where there is no system message to hold it."""
    return f"{persona}\n\n{user}"


def question_text(prompt: str, system: str, persona: str) -> str:
    """The user message of a question without the persona, where `merged` put it there."""
    return prompt if system or not persona else prompt.removeprefix(merged(persona, ""))


def prompt_text(rendered: Any) -> str:
    """A rendered prompt as text: a string, or the JSON messages that API backends send."""
    if isinstance(rendered, str):
        return rendered
    messages = rendered
    if hasattr(rendered, "prompt"):  # lm_eval's JsonChatStr
        messages = json.loads(rendered.prompt)
    return "\n\n".join(str(message["content"]) for message in messages)


def check_persona(rendered: Any, persona_prompt: str, persona: str, template: str) -> None:
    """Stops the run where the persona is not in the prompt, white space aside.

    Raises:
        MissingPersonaError: names the template and the way out.
    """
    if _squeeze(persona_prompt) in _squeeze(prompt_text(rendered)):
        return
    raise MissingPersonaError(
        f"the prompt of persona {persona!r} lacks the persona: {template} drops the system "
        "message. Put personas into the user message with --metadata "
        '\'{"system_role": "merge"}\' (for this model and for every model compared with it)'
    )


def check_turns(rendered: Any, turns: Iterable[str], template: str) -> None:
    """Stops the run where a user's turn of the conversation is not in the prompt.

    Replies are not looked for: templates may take a model's reasoning out of earlier ones.

    Raises:
        MissingPersonaError: names the template.
    """
    text = _squeeze(prompt_text(rendered))
    if missing := [turn for turn in turns if _squeeze(turn) not in text]:
        raise MissingPersonaError(
            f"the prompt lacks the conversation ({missing[0][:60]!r}): {template} drops earlier "
            "turns, so that this model can't be asked over a conversation"
        )


def template_facts(chat_template: ChatTemplate) -> TemplateFacts:
    """Probes a chat template with and without a system message."""
    user = {"role": "user", "content": _USER}
    bare = chat_template([user])
    if not isinstance(bare, str):
        return TemplateFacts("unknown", "")
    try:
        full = chat_template([{"role": "system", "content": _SYSTEM}, user])
    except Exception:  # a template that refuses, on a backend that lets its error through
        full = ""
    if _SYSTEM not in full:
        return TemplateFacts("dropped", "")  # nothing would mark off a default message
    head, _, rest = full.partition(_SYSTEM)
    between = rest.partition(_USER)[0]
    role = "system" if between.strip() else "folded"
    default = bare.partition(_USER)[0]
    if default.startswith(head) and default.endswith(between) and role == "system":
        return TemplateFacts(role, default[len(head) : len(default) - len(between)].strip())
    return TemplateFacts(role, "")


def _squeeze(text: str) -> str:
    return " ".join(text.split())
