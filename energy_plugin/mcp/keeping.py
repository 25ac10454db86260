"""Notes that agents add, and forgetting in two steps: a plan, then its execution."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.passages import passages
from energy_plugin.library.stores.store import FIELDS, NOTE, PINNED, Row
from energy_plugin.mcp.finding import VALUE
from energy_plugin.mcp.ledger import now

if TYPE_CHECKING:
    from energy_plugin.mcp.shelf import Shelf

_PREFIX = "note:"
_SIZE = 1000  # characters of a passage
_MOST_PLANS = 100
_GROWN = 8192  # rows from which on refitting is left to people


def add_note(
    shelf: Shelf,
    text: str,
    *,
    value: float = 1.0,
    pinned: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Store a text, embedded as the other rows are, and give it its energy columns.

    Returns
    -------
    dict
        ``note``, the source by which it is read and forgotten, and the number of rows.

    Raises
    ------
    InvalidInputError
        An empty text, a value outside [0, 1], fields that a row cannot have, or a store whose
        rows another embedder made.
    HostWriteError
        The history cannot be written.
    """
    if not text.strip():
        raise InvalidInputError("The note is empty. Give it some words.")
    if isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidInputError(f"value is {value!r}, expected a number from 0 to 1")
    own = _fields(fields or {}) | {VALUE: float(value), PINNED: bool(pinned)}
    embedder = shelf.embedder()
    if not shelf.store.embedded_by(embedder):
        raise InvalidInputError(
            f"The rows of {shelf.store.name!r} were not embedded by {embedder.name!r}. Start the "
            "server with the --embedder that they were made with."
        )
    parts = passages(text, _SIZE)
    vectors = embedder.encode_document(parts)
    moment = now()
    source = f"{_PREFIX}{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    rows = [
        Row(
            f"{source}#{number}",
            part,
            source,
            number,
            len(parts),
            NOTE,
            moment.isoformat(),
            fields=own,
        )
        for number, part in enumerate(parts)
    ]
    entry = {"note": source, "sha256": hashlib.sha256(text.encode()).hexdigest(), **own}
    shelf.ledger.write("add_note", **entry)
    try:
        before = shelf.store.count()
        shelf.store.add(rows, vectors)
        _keep_up(shelf, before)
    except Exception as error:
        shelf.ledger.write("failed", of="add_note", note=source, error=str(error))
        raise
    return {"note": source, "rows": len(rows)}


@dataclass(frozen=True)
class _Plan:
    """A dry run that may be carried out; `print` tells whether it would still do the same."""

    now: datetime
    notes: tuple[str, ...] | None
    print: str
    said: dict[str, Any]


class Forgetting:
    """Forgetting in two steps; plans are kept in memory, each for one use.

    Parameters
    ----------
    shelf : Shelf
    column : str
        Column or metadata key with each row's time.
    """

    def __init__(self, shelf: Shelf, column: str = "modified") -> None:
        self.shelf = shelf
        self.column = column
        self._plans: dict[str, _Plan] = {}

    def plan(self, notes: list[str] | None) -> dict[str, Any]:
        """What would go: some notes whole, or else bit planes of old rows. Nothing changes.

        Raises
        ------
        InvalidInputError
            There is no such note, it is pinned, or no row has a time.
        """
        made = self._made(now(), None if notes is None else tuple(dict.fromkeys(notes)))
        while len(self._plans) >= _MOST_PLANS:
            self._plans.pop(next(iter(self._plans)))
        token = secrets.token_hex(8)
        self._plans[token] = made
        remark = "Nothing was changed. To carry it out, call forget with this plan alone."
        return {"dry_run": True, "plan": token, **made.said, "remark": remark}

    def carry_out(self, token: str) -> dict[str, Any]:
        """Do what a plan said, and note it in the history.

        Raises
        ------
        InvalidInputError
            The plan is unknown or used, or the rows have changed since.
        HostWriteError
            The history cannot be written.
        """
        made = self._plans.pop(token, None)
        if made is None:
            raise InvalidInputError(
                f"There is no plan {token!r}: it was carried out already, or belongs to another "
                "run of the server. Call forget without a plan first."
            )
        if self._made(made.now, made.notes).print != made.print:
            raise InvalidInputError(
                "The rows have changed since the plan was made. Nothing was changed; make a new "
                "plan."
            )
        store, ledger = self.shelf.store, self.shelf.ledger
        ledger.write("forget", plan=token, as_of=made.now.isoformat(), **made.said)
        try:
            if made.notes is not None:
                store.remove(made.notes)
                if store.count():
                    store.build_or_refresh(show_progress_bar=False)
            else:
                store.forget(made.now, self.column, dry_run=False)
        except Exception as error:
            ledger.write("failed", of="forget", plan=token, error=str(error))
            raise
        return {"dry_run": False, **made.said}

    def _made(self, moment: datetime, notes: tuple[str, ...] | None) -> _Plan:
        if notes is not None:
            return self._of_notes(moment, notes)
        self.shelf.require_rows()
        plan = self.shelf.store.forget(moment, self.column, dry_run=True)
        digest = hashlib.sha256(np.ascontiguousarray(plan.bits).tobytes())
        digest.update(np.ascontiguousarray(plan.bits_now).tobytes())
        return _Plan(moment, None, digest.hexdigest(), {"fidelity": plan.to_dict()})

    def _of_notes(self, moment: datetime, notes: tuple[str, ...]) -> _Plan:
        if not notes:
            raise InvalidInputError("notes is an empty list. Name notes, or leave it out.")
        found: list[dict[str, Any]] = []
        for name in notes:
            rows = self.shelf.store.fetch(source=name) if name.startswith(_PREFIX) else []
            if not rows:
                raise InvalidInputError(
                    f"There is no note {name!r}. Only notes can be removed, by the name that "
                    "add_note gave; rows of files are removed with their files."
                )
            if rows[0].fields.get(PINNED):
                raise InvalidInputError(f"The note {name!r} is pinned and cannot be removed.")
            rows.sort(key=lambda row: row.part or 0)
            text = "\n\n".join(row.text for row in rows)
            found.append({"note": name, "text": text, "fields": dict(rows[0].fields)})
        seen = json.dumps(found, sort_keys=True)  # hosts give fields in any order
        digest = hashlib.sha256(seen.encode()).hexdigest()
        return _Plan(moment, notes, digest, {"notes": found})


def _keep_up(shelf: Shelf, before: int) -> None:
    """Columns for new rows; a new field each time that a small store has doubled.

    One that was fitted on a few notes knows neither their metric nor what is relevant.
    """
    shelf.store.build_or_refresh(show_progress_bar=False)
    rows = shelf.store.count()
    if 0 < before < _GROWN and before.bit_length() < rows.bit_length():
        shelf.store.refit(memory_limit=None, show_progress_bar=False)


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name in (*FIELDS, VALUE, PINNED, "vector") or name.startswith(("energy_", "_", "$")):
            raise InvalidInputError(f"fields has {name!r}, which the store uses. Use another name.")
        if not name or not isinstance(value, bool | int | float | str):
            raise InvalidInputError(
                f"fields has {name!r}: {value!r}, expected a name with text, a number or a bool"
            )
    return dict(given)
