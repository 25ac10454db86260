"""Energy in Chroma and LanceDB beside the plain search of the same rows, with other work or not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.evaluation.bench.data import Vectors


def measure(vectors: Vectors) -> dict[str, Any]:
    """Put vectors into both hosts, build their fields, and time single queries.

    Returns
    -------
    dict
        ``dim``, and ``hosts``: by name what `energy_plugin.evaluation.busy.idle_and_busy` gives.
    """
    import energy_chroma.costs as chroma
    import energy_lancedb.costs as lance

    from energy_plugin.evaluation.busy import idle_and_busy

    hosts = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for name, ways in (
            ("Chroma", lambda folder: chroma.guarantees(chroma.stored(folder, vectors.rows))),
            ("LanceDB", lambda folder: lance.guarantees(lance.stored(folder, vectors.rows))),
        ):
            hosts[name] = idle_and_busy(ways(Path(place) / name), list(vectors.queries))
    return {"dim": vectors.rows.shape[1], "hosts": hosts}


def show_busy(found: dict[str, Any]) -> None:
    """Print what `energy_plugin.evaluation.busy.idle_and_busy` gives."""
    from energy_plugin.cli.console import console, heading, table
    from energy_plugin.evaluation.busy import COLUMNS, lines

    made = table(*COLUMNS)
    for cells in lines(found):
        made.add_row(*cells)
    console().print(heading(f"One query, and with {found['cores']} processes that compute"))
    console().print(made)
