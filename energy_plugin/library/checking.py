"""Damage of a stored field, found and repaired."""

from __future__ import annotations

from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.library.remedies import NEWER
from energy_plugin.library.stores.store import Store

Findings = list[dict[str, str]]


def check(store: Store, *, repair: bool, reach: bool = False) -> tuple[Findings, Findings]:
    """Look for damage, and repair it if asked.

    Parameters
    ----------
    store : Store
    repair : bool
    reach : bool, default False
        Also look for rows that the host's own search does not find. Chroma only.

    Returns
    -------
    found, left : list of dict
        Kind and message of each; `left` is what remains after the repair.

    Raises
    ------
    CorruptFieldError
        A newer version wrote the field; repairing would overwrite it.
    InvalidInputError
        `reach`, and the host has no approximate graph that could lose rows.
    """
    if reach and not store.may_lose_rows:
        raise InvalidInputError(
            f"--reach checks the graph of Chroma's search, but {store.name!r} is a {store.host} "
            "table, whose search without an index reads every row. Leave it out."
        )
    found = store.findings(reach=reach)
    if not found or not repair:
        return found, found
    newer = [each["message"] for each in found if NEWER in each["message"]]
    if newer:
        raise CorruptFieldError(
            f"{newer[0].partition(NEWER)[0].strip()} {NEWER}, so nothing was repaired. "
            "Upgrade energy-plugin: pip install -U energy-plugin"
        )
    store.repair(reach=reach)
    return found, store.findings(reach=reach)
