"""Damage of a stored field, found and repaired."""

from __future__ import annotations

from energy_plugin.errors import CorruptFieldError
from energy_plugin.library.remedies import NEWER
from energy_plugin.library.stores.store import Store

Findings = list[dict[str, str]]


def check(store: Store, *, repair: bool) -> tuple[Findings, Findings]:
    """Look for damage, and repair it if asked.

    Returns
    -------
    found, left : list of dict
        Kind and message of each; `left` is what remains after the repair.

    Raises
    ------
    CorruptFieldError
        A newer version wrote the field; repairing would overwrite it.
    """
    found = store.findings()
    if not found or not repair:
        return found, found
    newer = [each["message"] for each in found if NEWER in each["message"]]
    if newer:
        raise CorruptFieldError(
            f"{newer[0].partition(NEWER)[0].strip()} A later release wrote it, so that nothing "
            "was repaired. Upgrade energy-plugin: pip install -U energy-plugin"
        )
    store.repair()
    return found, store.findings()
