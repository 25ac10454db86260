"""Energy ranking over LanceDB's asynchronous tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from energy_lancedb.query import EnergyQuery
from energy_lancedb.sync import is_asynchronous, sync_view
from energy_lancedb.table import PASSED_ON, EnergyTable
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.awaiting import awaited
from energy_plugin.stored.passing import passed_on

if TYPE_CHECKING:
    import pyarrow as pa

    from energy_plugin.energy import SearchWork


class AsyncEnergyTable:
    """An asynchronous LanceDB table whose searches are ordered by energy distance.

    Everything runs in a worker thread, so the event loop stays free; the methods are those of
    `EnergyTable` and take the same arguments.

    Parameters
    ----------
    table : lancedb.AsyncTable
        The result of `await (await lancedb.connect_async(uri)).open_table(name)`.
    vector_column_name, device, read_consistency_interval
        See `EnergyTable`.

    Examples
    --------
    >>> energy = await AsyncEnergyTable(table).build()                          # doctest: +SKIP
    >>> await energy.search("heat flow").where("year > 2020").limit(5).to_list()  # doctest: +SKIP
    """

    def __init__(
        self,
        table: Any,
        vector_column_name: str | None = None,
        *,
        device: str | None = None,
        read_consistency_interval: float | timedelta | None = None,
    ) -> None:
        if not is_asynchronous(table):
            raise InvalidInputError(
                f"table must be an asynchronous LanceDB table, got {type(table).__name__}. "
                "Use EnergyTable for a synchronous one."
            )
        self._table = table
        self._energy = EnergyTable(
            sync_view(table),
            vector_column_name,
            device=device,
            read_consistency_interval=read_consistency_interval,
        )

    def __repr__(self) -> str:
        return f"AsyncEnergyTable({self.name!r})"

    def __getattr__(self, name: str) -> Any:
        table = self.__dict__.get("_table")
        if table is None:
            raise AttributeError(name)
        return passed_on(self, table, "table", PASSED_ON, name)

    async def _run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(work, *args, **kwargs)

    @property
    def table(self) -> Any:
        """The asynchronous LanceDB table itself."""
        return self._table

    @property
    def name(self) -> str:
        """Name of the table."""
        return self._energy.name

    build = awaited(EnergyTable.build)
    refresh = awaited(EnergyTable.refresh)
    maintain = awaited(EnergyTable.maintain)
    refit = awaited(EnergyTable.refit)
    forget = awaited(EnergyTable.forget)
    search_lambda = awaited(EnergyTable.search_lambda)
    info = awaited(EnergyTable.info)
    verify = awaited(EnergyTable.verify)
    repair = awaited(EnergyTable.repair)
    drop = awaited(EnergyTable.drop)

    embed_query = awaited(EnergyTable.embed_query)
    add = awaited(EnergyTable.add)
    delete = awaited(EnergyTable.delete)
    optimize = awaited(EnergyTable.optimize)
    checkout = awaited(EnergyTable.checkout)
    checkout_latest = awaited(EnergyTable.checkout_latest)
    restore = awaited(EnergyTable.restore)

    def search(
        self,
        query: Any = None,
        vector_column_name: str | None = None,
        query_type: str = "auto",
        **options: Any,
    ) -> AsyncEnergyQuery:
        """As `EnergyTable.search`; awaiting it is optional, as in LanceDB."""
        return AsyncEnergyQuery(
            self._energy.search(query, vector_column_name, query_type, **options)
        )

    def merge_insert(self, on: Any) -> Any:
        """As `EnergyTable.merge_insert`; the builder's `execute` is awaited."""
        builder = self._energy.merge_insert(on)
        execute: Callable[..., Any] = builder.execute

        async def executed(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(execute, *arguments, **options)

        builder.execute = executed
        return builder

    async def update(self, updates: Any = None, *, where: Any = None, **options: Any) -> Any:
        """Change columns as `AsyncTable.update` does, and write the energy columns.

        Parameters
        ----------
        updates : dict, optional
            New values by column.
        where, updates_sql
            See `lancedb.AsyncTable.update`.
        """
        if "updates_sql" in options:
            options["values_sql"] = options.pop("updates_sql")
        return await asyncio.to_thread(self._energy.update, where, updates, **options)


class AsyncEnergyQuery:
    """A search that runs when a result is awaited. See `EnergyQuery` for the methods."""

    def __init__(self, query: EnergyQuery) -> None:
        self._query = query

    def __await__(self) -> Generator[Any, None, AsyncEnergyQuery]:
        return self
        yield  # makes this a generator, so that the query can be awaited as LanceDB's

    @property
    def work(self) -> SearchWork | None:
        """After a run: cells probed and rows scored, each (q,)."""
        return self._query.work

    def vector(self, vector: Any) -> AsyncEnergyQuery:
        """As `EnergyQuery.vector`."""
        self._query.vector(vector)
        return self

    def text(self, text: Any) -> AsyncEnergyQuery:
        """As `EnergyQuery.text`."""
        self._query.text(text)
        return self

    def where(self, where: Any, prefilter: bool | None = None) -> AsyncEnergyQuery:
        """As `EnergyQuery.where`."""
        self._query.where(where, prefilter)
        return self

    def select(self, columns: list[str] | dict[str, Any]) -> AsyncEnergyQuery:
        """As `EnergyQuery.select`."""
        self._query.select(columns)
        return self

    def limit(self, limit: int) -> AsyncEnergyQuery:
        """As `EnergyQuery.limit`."""
        self._query.limit(limit)
        return self

    def offset(self, offset: int) -> AsyncEnergyQuery:
        """As `EnergyQuery.offset`."""
        self._query.offset(offset)
        return self

    def nprobes(self, nprobes: int) -> AsyncEnergyQuery:
        """As `EnergyQuery.nprobes`."""
        self._query.nprobes(nprobes)
        return self

    def min_relevance(self, least: float) -> AsyncEnergyQuery:
        """As `EnergyQuery.min_relevance`."""
        self._query.min_relevance(least)
        return self

    def distance_range(
        self, lower_bound: float | None = None, upper_bound: float | None = None
    ) -> AsyncEnergyQuery:
        """As `EnergyQuery.distance_range`."""
        self._query.distance_range(lower_bound, upper_bound)
        return self

    def with_row_id(self, with_row_id: bool = True) -> AsyncEnergyQuery:
        """As `EnergyQuery.with_row_id`."""
        self._query.with_row_id(with_row_id)
        return self

    def with_terms(self, with_terms: bool = True) -> AsyncEnergyQuery:
        """As `EnergyQuery.with_terms`."""
        self._query.with_terms(with_terms)
        return self

    def rerank(self, reranker: Any, query_string: str | None = None) -> AsyncEnergyQuery:
        """As `EnergyQuery.rerank`."""
        self._query.rerank(reranker, query_string)
        return self

    async def to_arrow(self) -> pa.Table:
        """As `EnergyQuery.to_arrow`."""
        return await asyncio.to_thread(self._query.to_arrow)

    async def to_batches(self, *, max_batch_length: int | None = None) -> Any:
        """Run the search; LanceDB's asynchronous reader of record batches."""
        from lancedb.arrow import AsyncRecordBatchReader

        return AsyncRecordBatchReader(await self.to_arrow(), max_batch_length=max_batch_length)

    async def to_list(self) -> list[dict[str, Any]]:
        """As `EnergyQuery.to_list`."""
        return await asyncio.to_thread(self._query.to_list)

    async def to_pandas(self, **options: Any) -> Any:
        """As `EnergyQuery.to_pandas`."""
        return await asyncio.to_thread(self._query.to_pandas, **options)

    async def to_polars(self) -> Any:
        """As `EnergyQuery.to_polars`."""
        return await asyncio.to_thread(self._query.to_polars)

    async def to_pydantic(self, model: Any) -> list[Any]:
        """As `EnergyQuery.to_pydantic`."""
        return await asyncio.to_thread(self._query.to_pydantic, model)
