"""The host table: what the plugin asks of LanceDB, in one place."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.columns import NAMES, is_vector
from energy_lancedb.dropped import Folder
from energy_lancedb.entries import entry_of, pointers_of, with_entry
from energy_lancedb.pointer import KEY, Pointer
from energy_plugin._lazy import optional
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import EnergyPluginError, InvalidInputError

T = TypeVar("T")
ROWID = "_rowid"
ATTEMPTS = 60  # commits that lose against another writer are tried again
PAUSE, LONGEST_PAUSE = 0.01, 0.2  # seconds, at most, before the second attempt and before any

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class HostVectors:
    """Vectors of some rows.

    Parameters
    ----------
    rowids : ndarray of shape (n,), uint64
    matrix : ndarray of shape (n, d), float32
        Finite.
    without : ndarray of shape (m,), uint64
        Rows whose vector is null or not finite: they are in no search result.
    """

    rowids: NDArray[np.uint64]
    matrix: NDArray[np.float32]
    without: NDArray[np.uint64]


def vectors_of(table: pa.Table, column: str, dim: int) -> HostVectors:
    """Take the vectors out of an Arrow table with the columns `column` and ``_rowid``."""
    rowids = table[ROWID].to_numpy().astype(np.uint64)
    matrix = np.empty((len(rowids), dim), dtype=np.float32)
    valid = np.ones(len(rowids), dtype=bool)
    start = 0
    for chunk in table[column].chunks:
        stop = start + len(chunk)
        values = chunk.values.slice(chunk.offset * dim, len(chunk) * dim)
        matrix[start:stop] = values.to_numpy(zero_copy_only=False).reshape(-1, dim)
        valid[start:stop] = chunk.is_valid().to_numpy(zero_copy_only=False)
        start = stop
    valid &= np.isfinite(matrix).all(axis=1)
    if valid.all():
        return HostVectors(rowids, matrix, rowids[:0])
    return HostVectors(rowids[valid], matrix[valid], rowids[~valid])


def in_order(vectors: HostVectors) -> HostVectors:
    """The same vectors by ascending row id: a fit depends on the order, a scan has none."""
    if (np.diff(vectors.rowids.astype(np.int64)) > 0).all():
        return vectors
    order = np.argsort(vectors.rowids, kind="stable")
    return HostVectors(vectors.rowids[order], vectors.matrix[order], vectors.without)


class Host:
    """A LanceDB table and its database.

    Parameters
    ----------
    table : lancedb.table.LanceTable
    connection : lancedb.DBConnection, optional
        The database of the companion tables; the table's own by default.
    column : str, optional
        The vector column whose field is meant, where the table has several.

    Raises
    ------
    InvalidInputError
        Not a synchronous LanceDB table.
    """

    def __init__(
        self, table: Any, connection: Any | None = None, column: str | None = None
    ) -> None:
        if not all(hasattr(table, name) for name in ("checkout_latest", "take_row_ids", "schema")):
            raise InvalidInputError(
                f"table must be a LanceDB table, got {type(table).__name__}. "
                "Pass the result of lancedb.connect(uri).open_table(name)."
            )
        if hasattr(table, "vector_search"):
            raise InvalidInputError(
                "table is an asynchronous LanceDB table. "
                "Use AsyncEnergyTable(table), or open it with lancedb.connect."
            )
        connection = connection if connection is not None else getattr(table, "_conn", None)
        if connection is None:
            raise InvalidInputError(
                f"The database of {type(table).__name__} is unknown. Pass it as connection=."
            )
        self.table = table
        self.connection = connection
        self.namespace = list(getattr(table, "namespace", None) or [])
        self.pinned: int | None = None  # the version that was checked out
        self.seen: int | None = None  # the version that `latest` has found
        self.replaced = False  # by a table of the same name and version
        self.written = 0  # commits of this object
        self._folder = Folder(table)
        self._stamp: tuple[int, ...] | None = None  # of the version that was seen
        self._column = column
        self._schema: Any = None  # of that version
        self._key = KEY
        self._opens: bool | None = None  # whether pylance has opened the storage
        self._dataset: Any = None  # of one version, and it can be moved to a later one
        self._memories: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        """Name of the table."""
        return str(self.table.name)

    def memory(self, kind: Callable[[Host], T]) -> T:
        """The one object of a class that remembers something about this table."""
        if kind not in self._memories:
            self._memories[kind] = kind(self)
        found: T = self._memories[kind]
        return found

    @property
    def branch(self) -> str | None:
        """Name of the branch that the handle is on; None for the main one."""
        ask = getattr(self.table, "current_branch", None)
        return None if ask is None else ask()

    @property
    def schema(self) -> Any:
        """Arrow schema of the version that `latest` has found.

        Of the plugin's entries it has that of the column's field alone, as `KEY`.

        Raises
        ------
        InvalidInputError
            The table has fields of several vector columns, and none was named.
        """
        if self._schema is None:
            whole = self._whole_schema()
            self._key = entry_of(whole, self._column, self.name)
            self._schema = with_entry(whole, self._key)
        return self._schema

    @property
    def key(self) -> str:
        """Key of the entry of the column's field."""
        assert self.schema is not None
        return self._key

    def pointers(self) -> dict[str, Pointer | None]:
        """The pointers of all fields of the table, see `pointers_of`."""
        return pointers_of(self._whole_schema())

    def _whole_schema(self) -> Any:
        """With the entries in the table's own metadata, which LanceDB does not show."""
        schema = self.table.schema
        entries = {key: text for key, text in self._metadata().items() if key.startswith(KEY)}
        return schema.with_metadata({**(schema.metadata or {}), **entries}) if entries else schema

    def _metadata(self) -> dict[str, str]:
        """The table's own metadata; none where pylance cannot open the storage."""
        try:
            dataset = self.dataset()
        except Exception:
            if self._opens:  # it could before
                raise
            return {}
        self._opens = True
        return dict(getattr(dataset, "metadata", None) or {})

    def describe(self, column: str, text: str | None) -> None:
        """Store the plugin's entry, or remove it; in one commit where there is none elsewhere.

        It goes into the table's own metadata, and where pylance cannot write these into those of
        the vector column. After an entry in the one place, that in the other is removed.

        Parameters
        ----------
        column : str
            The vector column.
        text : str, optional
        """
        beside = self.has_dataset() and hasattr(self.dataset(), "update_metadata")
        key = self.key
        if beside and (text is not None or self._metadata().get(key)):
            self.dataset().update_metadata({key: text})
            self.latest()
        if not beside and text is not None:
            self.table.update_field_metadata({"path": column, "metadata": {key: text}})
            return
        for one in self.table.schema:
            if key.encode() in (one.metadata or {}) and one.name not in NAMES:
                self.table.update_field_metadata({"path": one.name, "metadata": {key: None}})
                self.latest()

    def latest(self) -> int:
        """Go to the table's latest version, or to the one checked out, and return it."""
        if self.pinned is not None:
            version = self.pinned
            if int(self.table.version) != version:  # the handle was moved by someone else
                self.table.checkout(version)
        else:
            version = self._newest()
        stamp = self._folder.stamp(version)
        if version != self.seen:
            self.seen, self._schema = version, None
        elif stamp != self._stamp:  # dropped, and made again with as many versions
            self._schema = self._dataset = None
            self._memories.clear()
            self.replaced = True
        self._stamp = stamp
        return version

    def _newest(self) -> int:
        """Go to the latest version; one round trip to LanceDB's event loop where that can be."""
        inner = getattr(self.table, "_table", None)
        if inner is None:
            self.table.checkout_latest()
            return int(self.table.version)
        from lancedb.background_loop import LOOP

        async def move() -> int:
            await inner.checkout_latest()
            return int(await inner.version())

        return int(LOOP.run(move()))

    def require_latest(self) -> None:
        """Refuse to write while an older version is checked out.

        Raises
        ------
        InvalidInputError
        """
        if self.pinned is not None:
            raise InvalidInputError(
                f"Version {self.pinned} of table {self.name!r} is checked out, which can only be "
                "read. Call checkout_latest() to write, or restore() to make it the latest."
            )

    def insist(self, commit: Callable[[], T], *, move: bool = False) -> T:
        """`insist` on a commit to this table.

        Parameters
        ----------
        commit : callable
        move : bool, default False
            Go to the latest version before another attempt; for what does not do so itself.
        """
        self.written += 1
        return insist(self.name, commit, self.latest if move else None)

    def vector_column(self, name: str | None) -> tuple[str, int]:
        """Name and dimension of the vector column.

        Raises
        ------
        InvalidInputError
            No such column, none or several to choose from, or not a list of fixed size.
        """
        schema = self.schema
        if name is None:
            names = [column.name for column in schema if is_vector(column.type)]
            if len(names) != 1:
                raise InvalidInputError(
                    f"Table {self.name!r} has {len(names)} vector columns {names}. "
                    "Name one: EnergyTable(table, vector_column_name=...)."
                )
            name = names[0]
        if name not in schema.names:
            raise InvalidInputError(
                f"Table {self.name!r} has no column {name!r}; its columns are {schema.names}."
            )
        kind = schema.field(name).type
        if not is_vector(kind):
            raise InvalidInputError(
                f"Column {name!r} has the type {kind}, expected a fixed_size_list of floats. "
                "LanceDB makes one of a list of floats, or of Vector(dim) in a LanceModel."
            )
        return name, int(kind.list_size)

    def scan(self, columns: list[str], filters: Sequence[Any] = ()) -> pa.Table:
        """Columns of the rows that match every filter, with ``_rowid``."""
        query = self.table.search()
        if filters:
            query = query.where(joined(filters))
        return query.select([*columns, ROWID]).to_arrow()

    def vectors(self, column: str, dim: int) -> HostVectors:
        """Vectors of all rows, by ascending row id."""
        return in_order(vectors_of(self.scan([column]), column, dim))

    def dataset(self) -> Any:
        """The Lance dataset behind the table, pinned to the current version.

        Raises
        ------
        OptionalDependencyError
            pylance is not installed.
        """
        optional("lance", "lancedb")
        version = int(self.table.version)
        if self._dataset is None or self._dataset.version != version:
            self._dataset = self.table.to_lance()
        return self._dataset

    def has_dataset(self) -> bool:
        """Whether pylance is installed and can open the table's storage."""
        try:
            self.dataset()
        except Exception:  # any failure of any backend means: not this way
            return False
        return True


def insist(name: str, commit: Callable[[], T], between: Callable[[], Any] | None = None) -> T:
    """Call what commits to a table, again as long as another writer is faster.

    A lost commit has written nothing. The errors of this project are final.

    Parameters
    ----------
    name : str
        Of the table, for the log.
    commit : callable
    between : callable, optional
        Comes before another attempt.
    """
    for attempt in range(ATTEMPTS):
        try:
            return commit()
        except Exception as error:
            final = isinstance(error, EnergyPluginError) or not is_conflict(error)
            if final or attempt + 1 == ATTEMPTS:
                raise
        log.info("table %r: another writer was faster, trying again", name)
        time.sleep(random.uniform(0, min(LONGEST_PAUSE, PAUSE * (attempt + 1))))
        if between is not None:
            between()
    raise AssertionError


def joined(filters: Sequence[Any]) -> Any:
    """One condition; older releases of LanceDB keep only the last of several."""
    if len(filters) == 1:
        return filters[0]
    texts = [f if isinstance(f, str) else f.to_sql() for f in filters]
    return " AND ".join(f"({text})" for text in texts)


def prints_of(matrix: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Fingerprint of each row, also of no row at all."""
    return fingerprint(matrix) if len(matrix) else np.empty(0, dtype=np.uint32)


def is_conflict(error: Exception) -> bool:
    """Whether a commit failed only because another writer was faster."""
    return "conflict" in f"{type(error).__name__} {error}".lower()
