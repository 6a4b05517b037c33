"""Rows of a dataset on the Hugging Face hub: `hub:ORG/NAME`.

The `datasets` library downloads and caches it; `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` work
as they do there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PREFIX = "hub:"
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubError(RuntimeError):
    """A dataset can't be had, or lacks a split or a column; the message says what to do."""


class HubRows(NamedTuple):
    """A split of a dataset.

    Attributes:
        rows: Its rows, with the columns renamed as asked.
        commit: The commit of the dataset's repository that they are from.
    """

    rows: list[dict[str, Any]]
    commit: str


def hub_rows(
    name: str,
    *,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> HubRows:
    """Downloads a split, or takes it from the cache.

    Args:
        name: `ORG/NAME`, with or without `hub:` before it.
        split: As `datasets` has it; slices such as `train[:500]` too.
        config: The configuration (the hub's pages call it subset), where there are several.
        revision: Branch, tag or commit; the default branch where it is left out.
        columns: Names to rename columns to, each with the dataset's own name for it.

    Raises:
        HubError: no such dataset, configuration, split, revision or column; no access; no network.
    """
    import datasets

    name = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise HubError(f"hub:{name} names no dataset: write hub:ORG/NAME, as on its page")
    at = f"hub:{name}" + (f" at {revision[:12]}" if revision else "")
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
        commit = str(builder.hash)
        if not _COMMIT.fullmatch(commit):  # `datasets` takes a folder of that name first
            raise HubError(
                f"{at}: a folder {name} is here, and is read in place of the hub's "
                "dataset: start the command elsewhere"
            )
        if revision and _COMMIT.fullmatch(revision) and commit != revision:
            # without the network `datasets` takes whatever it has cached
            raise HubError(
                f"{at}: the hub can't be reached, and the cache holds another commit "
                f"({commit[:12]}): get online, or set revision to that one"
            )
        builder.download_and_prepare()
        table = builder.as_dataset(split=split)
    except HubError:
        raise
    except Exception as error:  # the clients raise a dozen unrelated types
        raise HubError(f"{at}: {_explained(error, name, split)}") from error
    return HubRows(renamed(table.to_list(), columns or {}, at), commit)


def renamed(
    rows: list[dict[str, Any]], columns: Mapping[str, str], where: str
) -> list[dict[str, Any]]:
    """The rows with columns under other names; a column that was there by a new name is replaced.

    Args:
        rows: The rows.
        columns: New names, each with the present one.
        where: Where the rows are from, for the message.

    Raises:
        HubError: a column is not there.
    """
    present = list(dict.fromkeys(name for row in rows[:1] for name in row))
    for name in columns.values():
        if rows and name not in present:
            raise HubError(f"{where} has no column {name!r}: it has {', '.join(present)}")
    return [{**row, **{new: row.get(name) for new, name in columns.items()}} for row in rows]


def _explained(error: Exception, name: str, split: str) -> str:
    """What went wrong and what to do, in one sentence."""
    said = " ".join(str(error).split()) or type(error).__name__
    types = {kind.__name__ for each in _causes(error) for kind in type(each).__mro__}
    if "gated dataset" in said or "GatedRepoError" in types:
        return (
            "the dataset is gated: accept its terms on its page "
            f"(https://huggingface.co/datasets/{name}) and set HF_TOKEN to a token of that account"
        )
    if "RevisionNotFoundError" in types:
        return "there is no such revision; give a branch, a tag or a commit of the dataset"
    if "RepositoryNotFoundError" in types or "doesn't exist on the Hub" in said:
        return (
            "there is no such dataset, or it is private: write it as on its page (ORG/NAME), or "
            "set HF_TOKEN to a token that may read it"
        )
    offline = {"OfflineModeIsEnabled", "ConnectionError", "ConnectError", "TimeoutException"}
    if types & offline:
        return (
            "the hub can't be reached and the dataset is not in the cache: load it once with a "
            "network, or save its rows as a .jsonl file and name that"
        )
    if said.startswith("Unknown split"):
        return f"there is no split {split!r}: {said.partition('.')[2].strip()}"
    return said[:300]


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
