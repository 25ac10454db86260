"""A LanceDB table ranked by energy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.building import Builder, BuildTimes
from energy_lancedb.keeper import TableKeeper
from energy_lancedb.live import LiveTable
from energy_lancedb.query import EnergyQuery
from energy_lancedb.writing import RowWriter
from energy_plugin.stored import FieldVerbs
from energy_plugin.stored.passing import passed_on
from energy_plugin.validation import as_interval

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_plugin.energy import EnergyConfig

# Members of LanceDB's table that read rows or look after its own indexes.
PASSED_ON = frozenset(
    {
        "count_rows",
        "create_fts_index",
        "create_index",
        "create_scalar_index",
        "drop_index",
        "embedding_functions",
        "head",
        "index_stats",
        "list_indices",
        "list_versions",
        "schema",
        "stats",
        "tags",
        "take_offsets",
        "take_row_ids",
        "to_arrow",
        "to_lance",
        "to_pandas",
        "to_polars",
        "uri",
        "uses_v2_manifest_paths",
        "version",
        "wait_for_index",
    }
)


class EnergyTable(FieldVerbs):
    """A LanceDB table whose searches are ordered by energy distance.

    Parameters
    ----------
    table : lancedb.table.LanceTable
        The result of `lancedb.connect(uri).open_table(name)`. The plugin moves this handle to the
        table's latest version before every search, unless `checkout` selected another.
    vector_column_name : str, optional
        Only needed if the table has several vector columns and no field, or several fields: each
        vector column can have one.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best available.
    connection : lancedb.DBConnection, optional
        Database of the companion tables; the table's own by default.
    read_consistency_interval : float or timedelta, optional
        How old the results may be, in seconds: within that time after a check for a new version,
        searches do not check again. Writes of this object are always seen. By default, every
        search checks.

    Raises
    ------
    InvalidInputError
        Not a LanceDB table, or the interval is not a time.

    Notes
    -----
    Members of the table that only read, such as ``count_rows``, ``head``, ``to_pandas`` and
    ``schema``, and those for indexes, such as ``create_index`` and ``list_indices``, are passed
    on. Use `table` for all others.

    Examples
    --------
    >>> energy = EnergyTable(table).build()                              # doctest: +SKIP
    >>> energy.search("heat flow").where("year > 2020").limit(5).to_pandas()  # doctest: +SKIP
    """

    last_build: BuildTimes | None = None
    """Of the last `build` of this object."""

    def __init__(
        self,
        table: Any,
        vector_column_name: str | None = None,
        *,
        device: str | None = None,
        connection: Any | None = None,
        read_consistency_interval: float | timedelta | None = None,
    ) -> None:
        self._live = LiveTable(
            table,
            vector_column_name,
            device=device,
            connection=connection,
            interval=as_interval(read_consistency_interval),
        )
        keeper = TableKeeper(self._live)
        super().__init__(keeper)
        self._builder = Builder(keeper)
        self._rows = RowWriter(keeper)

    def __repr__(self) -> str:
        return f"EnergyTable({self.name!r})"

    def __getattr__(self, name: str) -> Any:
        live = self.__dict__.get("_live")
        if live is None:  # while it is made, copied or unpickled
            raise AttributeError(name)
        if name in PASSED_ON:
            with live.lock:
                live.host.latest()
        return passed_on(self, live.host.table, "table", PASSED_ON, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *PASSED_ON})

    @property
    def table(self) -> Any:
        """The LanceDB table itself."""
        return self._live.host.table

    @property
    def name(self) -> str:
        """Name of the table."""
        return self._live.host.name

    @property
    def vector_column(self) -> str:
        """Name of the column of the field, or, without a field, of the only vector column.

        Raises
        ------
        InvalidInputError
            The table has several vector columns, or none.
        """
        return self._live.vector_column()

    # -- building

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        layout: str = "auto",
        engine: str = "local",
        sample: int | None = None,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
        """Fit an energy field to the table and store it, as a new generation.

        Readers see the old field until the new one is complete. Other threads can use this object
        while the field is fitted.

        Parameters
        ----------
        config : EnergyConfig, optional
        layout : {"auto", "columns", "companion"}, default "auto"
            Store the energy columns in the table, or in a companion table. "companion" does not
            change the schema, and is the only choice if pylance cannot open the storage
            (``memory://``). "auto" keeps the layout of an existing field; otherwise it uses
            "companion", and with Ray "columns".
        engine : {"local", "ray"}, default "local"
            Where the columns are computed after the field is fitted: in this process, or fragment
            by fragment on a Ray cluster (``pip install -e ".[ray]"``).
        sample : int, optional
            Number of rows in the fit. The default is all rows, or 131,072 chosen by the seed of
            the configuration if there are more. The columns of the others are a function of their
            vector, the field and the sample; both engines compute the same function.
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the build may take beyond the current memory of the process.
            The field is fitted on a sample that fits, and the vectors are read and mapped a block
            at a time. With Ray, the limit applies to this process and to each task.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyTable
            This object.

        Raises
        ------
        InvalidInputError
            No row has a vector, the table has other columns with the same names, the limit is too
            small, or `config` is not an EnergyConfig.
        """
        self.last_build = self._builder.build(
            config,
            layout=layout,
            engine=engine,
            sample=sample,
            memory_limit=memory_limit,
            show_progress_bar=show_progress_bar,
        )
        return self

    # -- searching

    def search(
        self,
        query: Any = None,
        vector_column_name: str | None = None,
        query_type: str = "auto",
        *,
        fts_columns: str | Sequence[str] | None = None,
        lexical_weight: float | None = None,
    ) -> EnergyQuery:
        """Start a search, ordered by energy distance.

        Parameters
        ----------
        query : str or array_like of shape (d,) or (q, d), optional
            A text is embedded by the table's embedding function. Several texts or vectors give
            a result with a ``query_index`` column, as in LanceDB. Not needed for a hybrid search
            that is given ``.vector(vector).text(text)``.
        vector_column_name : str, optional
            The column on which the field was built; this is also the default.
        query_type : {"auto", "vector", "hybrid", "fts"}, default "auto"
            "hybrid" ranks by energy and words in one field, with the scores of the table's own
            full-text index; rows found only by words, and rows without any matching word, can both
            rank first. "fts" is LanceDB's full-text search, ordered by words alone. "auto" is
            "vector", or "fts" for a text if the table has no embedding function.
        fts_columns : str or list of str, optional
            Columns whose words are searched; by default all columns with a full-text index.
        lexical_weight : float, optional
            Share of the words in a hybrid search, 0 to 1; the default suits most tables.

        Returns
        -------
        EnergyQuery
            With LanceDB's `where`, `select`, `limit`, `to_arrow` and so on.

        Raises
        ------
        InvalidInputError
            The query is missing, or `query_type` is unknown.

        Examples
        --------
        >>> energy.create_index("text", config=FTS())                          # doctest: +SKIP
        >>> energy.search("heat flow", query_type="hybrid").to_pandas()        # doctest: +SKIP
        """
        return EnergyQuery(
            self._live,
            query,
            vector_column_name,
            query_type=query_type,
            fts_columns=fts_columns,
            lexical_weight=lexical_weight,
        )

    def embed_query(self, query: Any) -> NDArray[np.float32]:
        """Vector of a query by the table's own embedding function, shape (d,), float32.

        Raises
        ------
        InvalidInputError
            The table has no embedding function.
        """
        return self._live.embed_query(query)

    # -- rows

    def add(self, data: Any, **options: Any) -> Any:
        """Add rows as `table.add` does, and write their energy columns.

        If the columns cannot be written, the log says so, and the rows are still in the table:
        searches rank them by their vectors, and `refresh` writes their columns. The same holds for
        `merge_insert` and `update`.

        Parameters
        ----------
        data, **options
            See `lancedb.table.Table.add`.

        Returns
        -------
        lancedb.AddResult

        Raises
        ------
        ForeignFieldError, CorruptFieldError
            The table has a field that cannot be used. Nothing is added.
        InvalidInputError
            The optical embedding function was given an empty text, or a version is checked
            out. Nothing is added.
        """
        return self._rows.add(data, **options)

    def merge_insert(self, on: Any) -> Any:
        """Update and insert as `table.merge_insert` does, and write the energy columns.

        Parameters
        ----------
        on : str or list of str
            Key columns.

        Returns
        -------
        lancedb.merge.LanceMergeInsertBuilder
            Its `execute` also writes the columns of the rows that changed.
        """
        return self._rows.merge_insert(on)

    def update(self, where: Any = None, values: Any = None, **options: Any) -> Any:
        """Change columns as `table.update` does, and write the energy columns.

        As in LanceDB, a changed text is not embedded again: give its vector too, or use
        `merge_insert`, which embeds.

        Parameters
        ----------
        where, values, **options
            See `lancedb.table.Table.update`.

        Returns
        -------
        lancedb.UpdateResult
        """
        return self._rows.update(where, values, **options)

    def delete(self, where: Any) -> Any:
        """Delete rows as `table.delete` does."""
        return self._rows.delete(where)

    def optimize(self, *, cleanup_older_than: timedelta | None = None, **options: Any) -> Any:
        """Compact the table as `table.optimize` does, and record that its columns are still valid.

        Versions of the same age are removed from the companion tables too.

        Parameters
        ----------
        cleanup_older_than, **options
            See `lancedb.table.Table.optimize`.
        """
        return self._rows.optimize(cleanup_older_than=cleanup_older_than, **options)

    # -- versions

    def checkout(self, version: int | str) -> None:
        """Search an older version of the table, with the field that it had.

        Parameters
        ----------
        version : int or str
            Number or tag.
        """
        self._live.checkout(version)

    def checkout_latest(self) -> None:
        """Follow the table's latest version again."""
        self._live.checkout_latest()

    def restore(self, version: int | str | None = None) -> None:
        """Make an older version the latest one, with the field that it had.

        Parameters
        ----------
        version : int or str, optional
            Number or tag; by default the version that is checked out.

        Raises
        ------
        CorruptFieldError
            The field of that version was removed by `optimize(cleanup_older_than=...)`. The table
            is restored; `build` makes a new field.
        """
        self._rows.restore(version)
