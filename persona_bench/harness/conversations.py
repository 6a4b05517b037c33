"""Conversations before the question: a persona answers scripted user turns, round by round.

A conversation belongs to a persona and a script, and the questions share it. All conversations of a
run are held together before any question is asked: in each round every one of them is asked for its
next reply, through the same model and store as the questions, so that a run that was killed goes on
in the middle of a conversation. The questions' prompts then have the conversation between the
system message and the question (`PersonaTask`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.evaluator_utils import get_sample_size

from persona_bench.harness.script import user_turns
from persona_bench.rendering import merged, prompt_text

NAME = "conversations"
"""What stands for a task's name in the store's records of replies."""
LENGTH_ALIASES = ("max_new_tokens", "max_tokens", "max_completion_tokens")
LOST = "conversation_lost"
"""Key of a request's document that says why the conversation before it could not be held."""
UNSPOKEN = "..."
"""Stands for a reply that is not there yet, where prompts are measured beforehand."""
Reply = tuple[str, str, str] | None
"""Text, how it ended, and why there is none; None where nothing was asked."""


class ConversationError(ValueError):
    """A conversation that can't be held; the message says why."""


@dataclass
class Conversation:
    """What one persona and the user said, by one script.

    Attributes:
        persona: The persona's id.
        script: Number of the script, from 0.
        opening: The system message; empty where there is none.
        lines: The user's turns as they are sent.
        arguments: Generation arguments of the replies.
        rounds: How many are wanted.
        replies: What the persona said so far.
        error: Why it could not go on; empty where it could.
        cut_off: Of each reply, whether it was as long as allowed.
    """

    persona: str
    script: int
    opening: list[dict[str, str]]
    lines: Sequence[str]
    arguments: dict[str, Any]
    rounds: int = 0
    replies: list[str] = field(default_factory=list)
    error: str = ""
    cut_off: list[bool] = field(default_factory=list)

    def messages(self, rounds: int) -> list[dict[str, str]]:
        """The first rounds as chat messages, without the system message."""
        replies = [*self.replies, *[UNSPOKEN] * (rounds - len(self.replies))]
        return [
            message
            for line, reply in zip(self.lines[:rounds], replies, strict=False)
            for message in (_message("user", line), _message("assistant", reply))
        ]

    def lost(self, rounds: int) -> str:
        """Why a question after so many rounds can't be asked; empty where it can."""
        if len(self.replies) >= rounds:
            return ""
        return f"the conversation before it ended in round {len(self.replies) + 1}: {self.error}"

    def marked(self, doc: dict[str, Any], rounds: int) -> dict[str, Any]:
        """The document of a question after so many rounds, with a mark if it can't be asked."""
        why = self.lost(rounds)
        return {**doc, LOST: why} if why else doc

    def request(self, lm: Any) -> Instance:
        """The request for the next reply."""
        number = len(self.replies)
        messages = [*self.opening, *self.messages(number), _message("user", self.lines[number])]
        doc = {
            "question": f"round {number + 1} of script {self.script + 1}",
            "persona": self.persona,
            "sample": 0,
        }
        prompt = lm.apply_chat_template(messages, add_generation_prompt=True)
        request = Instance("generate_until", doc, (prompt, dict(self.arguments)), 0)
        request.task_name, request.doc_id = NAME, 0
        return request

    def hear(self, reply: Reply) -> None:
        """Takes the next reply; None: it is not there, and nothing is asked for it."""
        if reply is None or reply[1] == "error":
            self.error = "it is not held yet" if reply is None else reply[2]
            return
        self.replies.append(reply[0])
        self.cut_off.append(reply[1] == "length")


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def begin(
    tasks: Iterable[Any], system_instruction: str | None, limit: float | None
) -> list[Conversation]:
    """The conversations that the questions of some tasks follow; each task is told of its own.

    Tasks share a conversation where it would be the same.

    Args:
        tasks: The tasks (`PersonaTask`) with a number of turns.
        system_instruction: What stands before each persona.
        limit: How many documents of each task are asked; all by default.
    """
    found: dict[str, Conversation] = {}
    for task in tasks:
        if not task.turns:
            continue
        docs = task.eval_docs
        docs = docs.select(range(min(get_sample_size(task, limit) or len(docs), len(docs))))
        columns = (docs[name] for name in ("persona", "script", "persona_prompt"))
        merge = task.knobs.system_role == "merge"
        arguments = _reply_arguments(task)
        for persona, script, prompt in dict.fromkeys(zip(*columns, strict=True)):
            told = (system_instruction, "" if merge else prompt)
            system = "\n\n".join(text for text in told if text)
            lines = user_turns(script, task.knobs.scripts)
            if merge and prompt:
                lines = [merged(prompt, lines[0]), *lines[1:]]
            opening = [_message("system", system)] if system else []
            key = json.dumps([opening, lines, arguments], default=str)
            made = Conversation(persona, script, opening, lines, arguments)
            talk = found.setdefault(key, made)
            talk.rounds = max(talk.rounds, task.turns)
            task.conversations[persona, script] = talk
    return list(found.values())


def _reply_arguments(task: Any) -> dict[str, Any]:
    """Generation arguments of the replies: the task's, of another length."""
    gen = task.config.generation_kwargs if task.OUTPUT_TYPE == "generate_until" else {}
    dropped = ("until", "stop", "max_gen_toks", *LENGTH_ALIASES)
    kept = {name: value for name, value in (gen or {}).items() if name not in dropped}
    return {"do_sample": False, **kept, "until": [], "max_gen_toks": task.knobs.turn_tokens}


def check_room(task: Any, lm: Any, system_instruction: str | None, multiturn: bool) -> None:
    """Refuses conversations that may outgrow the model's context, before any is held.

    Args:
        task: A `PersonaTask` that was told of its conversations.
        lm: The model.
        system_instruction, multiturn: As the questions will be asked.

    Raises:
        MissingPersonaError: too long a prompt, or the chat template loses persona or conversation.
    """
    task.use(lm)
    longest: dict[tuple[str, int], dict[str, Any]] = {}
    for doc in task.eval_docs:
        cell = doc["persona"], doc["script"]
        size = len(longest[cell]["prompt"]) if cell in longest else -1
        if cell in task.conversations and len(doc["prompt"]) > size:
            longest[cell] = doc
    prompts = [
        task.fewshot_context(
            doc,
            num_fewshot=task.config.num_fewshot or 0,
            system_instruction=system_instruction,
            apply_chat_template=True,
            fewshot_as_multiturn=multiturn,
            chat_template=lm.apply_chat_template,
            gen_prefix=task.doc_to_prefix(doc),
        )
        for doc in longest.values()
    ]
    flat = [each for one in prompts for each in (one if isinstance(one, list) else [one])]
    task.check_fits(list(map(prompt_text, flat)), task.turns * task.knobs.turn_tokens)


def put_into_documents(task: Any) -> None:
    """Puts what was said into a task's documents."""
    said = {
        cell: [message["content"] for message in each.messages(len(each.replies[: task.turns]))]
        for cell, each in task.conversations.items()
    }
    docs = task.dataset["test"]
    cells = zip(docs["persona"], docs["script"], strict=True)
    task.dataset["test"] = docs.add_column(  # a limit may leave some without
        "conversation", [said.get(cell, []) for cell in cells]
    )


def hold(
    conversations: Sequence[Conversation],
    lm: Any,
    ask: Callable[[list[Instance]], list[Reply]] | None = None,
) -> None:
    """Holds conversations to their ends, round by round, all of them in each round together.

    Args:
        conversations: From `begin`.
        lm: The model; its store keeps each reply.
        ask: What answers in place of the model.
    """
    for number in range(max((each.rounds for each in conversations), default=0)):
        going = [each for each in conversations if each.rounds > number and not each.error]
        mine = going[lm.rank :: lm.world_size] if ask is None else going
        requests = [each.request(lm) for each in mine]
        replies = (ask or _asked(lm))(requests)
        if ask is None and lm.world_size > 1:  # the ranks' shares, dealt in turn
            replies = _of_all_ranks(replies, lm.world_size, len(going))
        for each, reply in zip(going, replies, strict=True):
            each.hear(reply)


def _asked(lm: Any) -> Callable[[list[Instance]], list[Reply]]:
    def ask(requests: list[Instance]) -> list[Reply]:
        return [
            (str(reply), getattr(reply, "finish", ""), getattr(reply, "error", ""))
            for reply in (lm.generate_until(requests) if requests else [])
        ]

    return ask


def _of_all_ranks(mine: list[Reply], ranks: int, size: int) -> list[Reply]:
    """What all processes were told, in the order of the conversations."""
    import torch.distributed

    shares: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(shares, mine)
    return [shares[place % ranks][place // ranks] for place in range(size)]


def ended_early(conversations: Sequence[Conversation], tasks: Iterable[Any]) -> str:
    """What to tell of conversations that a failed request ended; empty where there are none.

    Raises:
        ConversationError: questions after them compare likelihoods, which can't be left out.
    """
    lost = [each for each in conversations if each.error]
    if not lost:
        return ""
    what = (
        f"{len(lost)} of {len(conversations)} conversations ended at a request that failed for "
        f"good ({lost[0].error}): the same command asks for it again"
    )
    if any(task.turns and task.OUTPUT_TYPE != "generate_until" for task in tasks):
        raise ConversationError(what)
    return f"{what}; until then the questions after them are unscored"
