"""What the demonstration prints."""

from __future__ import annotations

from collections.abc import Collection
from itertools import zip_longest
from typing import Any

from rich.console import Group
from rich.text import Text

from energy_plugin.cli.console import console, heading, table
from energy_plugin.library.demonstration.answers import HOSTS, RANKINGS, Answer
from energy_plugin.library.demonstration.store import Manifest

Found = dict[str, dict[str, list[Answer]]]  # host → ranking → answers

# Where each host keeps the energy columns.
_COLUMNS: dict[str, dict[str, str]] = {
    **{
        f"energy_{name}": {"LanceDB": "companion", "Chroma": "metadata, companion"}
        for name in ("lambda", "dispersion", "cell")
    },
    "energy_residual": {"LanceDB": "companion", "Chroma": "companion"},
}


def print_answers(question: str, found: Found, right: Collection[str] = ()) -> None:
    """Print a question's answers: one column a ranking, one a host where the hosts differ.

    Parameters
    ----------
    question : str
    found : mapping of host to ranking to answers
    right : collection of str
        Names of the documents that answer the question; they are marked.
    """
    out = console()
    out.print(heading(question))
    columns: dict[str, list[Answer]] = {}
    for ranking in RANKINGS:
        if _agree(found, ranking):
            columns[ranking] = found[HOSTS[0]][ranking]
        else:
            columns.update({f"{ranking}, {host}": found[host][ranking] for host in HOSTS})
    made = table("", *columns, numbers_from=len(columns) + 1)
    for rank, answers in enumerate(zip_longest(*columns.values()), 1):
        made.add_row(str(rank), *(_cell(answer, right) for answer in answers))
    out.print(made)


def _agree(found: Found, ranking: str) -> bool:
    """Tell whether all hosts gave the same documents in the same order."""
    names = [[answer.name for answer in found[host][ranking]] for host in HOSTS]
    return all(each == names[0] for each in names)


def _cell(answer: Answer | None, right: Collection[str]) -> Group:
    if answer is None:  # the other host found more
        return Group()
    _, _, description = answer.text.partition(" — ")
    name = f"✓ {answer.name}" if answer.name in right else answer.name
    return Group(
        Text(name, style="bold", no_wrap=True, overflow="ellipsis"),
        Text(description, style="dim", no_wrap=True, overflow="ellipsis"),
    )


def print_stored(
    manifest: Manifest,
    stored: dict[str, dict[str, Any]],
    embed_ms: float,
) -> None:
    """Print what each host stores and how fast it answers."""
    out = console()
    out.print(heading(f"{manifest.documents:,} documents stored"))
    made = table("", *HOSTS)
    first = [stored[host] for host in HOSTS]
    made.add_row("rows", *(f"{host['rows']:,}" for host in first))
    for name, kept in _COLUMNS.items():
        made.add_row(name, *(kept[host] for host in HOSTS))
    made.add_row("bytes/row, vector", *(f"{host['vector_bytes_per_row']:,}" for host in first))
    made.add_row("bytes/row, energy", *(f"{host['energy_bytes_per_row']:.0f}" for host in first))
    made.add_row("on disk, MB", *(f"{host['disk_bytes'] / 1e6:.1f}" for host in first))
    for step, label in (("store", "storing, s"), ("build", "energy, s")):
        times = (manifest.seconds.get(f"{step} {host}", 0.0) for host in HOSTS)
        made.add_row(label, *(f"{seconds:.1f}" for seconds in times))
    for ranking in RANKINGS:
        made.add_row(
            f"query by {ranking}, p50 ms",
            *(f"{host['query_p50_ms'][ranking]:.1f}" for host in first),
        )
    out.print(made)
    out.print("Storing in LanceDB includes embedding every document once.")
    out.print(f"Embedding a question takes {embed_ms:.1f} ms (p50).")
