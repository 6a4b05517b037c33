"""What the user says before the question, where a persona is asked over a whole conversation.

The turns are in `conversations.yaml`, in topics of four. A script starts with a topic of its own
and goes through all of them: with four scripts, the first sixteen turns of no two are the same.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("conversations.yaml")


@cache
def _topics() -> list[list[str]]:
    """The topics in order."""
    topics: list[list[str]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["topics"]
    return topics


MOST_SCRIPTS = len(_topics())
MOST_TURNS = sum(map(len, _topics()))


def user_turns(script: int, scripts: int) -> list[str]:
    """All turns of one script.

    Args:
        script: From 0 to `scripts` - 1.
        scripts: How many there are; their first topics are as far apart as can be.
    """
    first = script * MOST_SCRIPTS // scripts
    topics = _topics()[first:] + _topics()[:first]
    return [turn for topic in topics for turn in topic]
