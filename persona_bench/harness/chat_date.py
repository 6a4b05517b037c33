"""The date that a chat template prints, held at the day of a folder's first run.

Some chat templates write today's date into the prompt through `strftime_now` (Llama 3.2,
Mistral Small 3.1, gpt-oss, SmolLM3). A run that is resumed tomorrow would then ask other prompts.
So the date is pinned at the first run of a folder, by an empty file in its store whose name holds
the date, and the keys of the store are made from prompts as they read on one fixed day: merged
stores of two days hold every response under the key that any day's run looks for.

An endpoint that gets messages renders them on the server, and nothing here applies to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from persona_bench.harness.store import StoreError

FIXED = date(2000, 1, 1)
"""The day on which prompts are rendered for the keys of the store."""

_NAME = "chat-date-"


class DatedTemplate:
    """A tokenizer's `apply_chat_template` with the date held at one day.

    Args:
        render: The tokenizer's own method.
        day: What the template prints.
    """

    def __init__(self, render: Any, day: date) -> None:
        self.render, self.day = render, day
        self._undated: dict[str, str] = {}

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Renders as the tokenizer does; what the template is given goes over its globals."""
        rendered = self._on(self.day, *arguments, **named)
        if isinstance(rendered, str):
            undated = str(self._on(FIXED, *arguments, **named))
            digest = hashlib.sha256(undated.encode(errors="surrogatepass")).hexdigest()
            self._undated[rendered] = digest
        return rendered

    def undated(self, rendered: str) -> str:
        """What stands for a prompt in a key: the same on every day."""
        return self._undated.get(rendered, rendered)

    def _on(self, day: date, *arguments: Any, **named: Any) -> Any:
        def strftime_now(form: str) -> str:
            return datetime.combine(day, time(12)).strftime(form)

        return self.render(*arguments, **{"strftime_now": strftime_now, **named})


def prints_date(lm: Any) -> bool:
    """Whether the chat template that lm-eval renders with asks for the date."""
    texts = [getattr(getattr(lm, "tokenizer", None), "chat_template", None)]
    texts += [getattr(lm, "hf_chat_template", None)]
    return any("strftime_now" in str(text) for text in texts if text)


def pin_date(lm: Any, day: date) -> DatedTemplate | None:
    """Makes a model's chat template print this day; None where it prints no date.

    The tokenizer's method is replaced: lm-eval's backends render with it, each in its own way, and
    not all pass arguments on to the template.
    """
    if not prints_date(lm):
        return None
    render = lm.tokenizer.apply_chat_template
    dated = DatedTemplate(render.render if isinstance(render, DatedTemplate) else render, day)
    lm.tokenizer.apply_chat_template = dated
    return dated


def dated_template(lm: Any) -> DatedTemplate | None:
    """The pinned chat template of a model; None where none was pinned."""
    found = getattr(getattr(lm, "tokenizer", None), "apply_chat_template", None)
    return found if isinstance(found, DatedTemplate) else None


@contextmanager
def on_fixed_day(lm: Any) -> Iterator[None]:
    """The chat template prints the fixed day within this."""
    tokenizer, before = lm.tokenizer, lm.tokenizer.apply_chat_template
    pin_date(lm, FIXED)
    try:
        yield
    finally:
        tokenizer.apply_chat_template = before


# ---------------------------------------------------------------------- in the store
def today() -> date:
    """The date of this machine's clock, as a chat template prints it."""
    return datetime.now().date()


def recorded_dates(store: Path) -> list[date]:
    """The dates that were pinned in a store, the earliest first; several in a merged one."""
    if not store.is_dir():
        return []
    names = (file.name.removeprefix(_NAME) for file in store.glob(f"{_NAME}*"))
    return sorted(date.fromisoformat(name) for name in names if _is_date(name))


def first_date(store: Path | None, *, record: bool) -> date:
    """The date of a folder's first run; today where this is the first.

    The name of the file is all there is to it, so that several processes may write at once: the
    earliest counts, also where they start around midnight.

    Args:
        store: The store's folder; None: nothing is kept.
        record: Whether today is written down where no date is there.

    Raises:
        StoreError: the folder can't be written.
    """
    if store is None:
        return today()
    if not recorded_dates(store) and record:
        record_date(store, today())
    return min(recorded_dates(store), default=today())


def record_date(store: Path, day: date) -> None:
    """Writes a date into a store.

    Raises:
        StoreError: the folder can't be written.
    """
    file = store / f"{_NAME}{day.isoformat()}"
    try:
        store.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise StoreError(f"{file} can't be written ({error.strerror})") from None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
