"""A LanceDB table behind the calls of `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.library.stores.store import (
    EMBEDDER,
    FIELDS,
    MOST_COLUMNS,
    PINNED,
    Content,
    Hit,
    Passage,
    Row,
    Store,
    place,
)

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField
    from energy_plugin.library.embedders import Embedder


def names(path: Path) -> list[str]:
    """Tables of a folder, those of the plugin left out."""
    from energy_lancedb.stored import is_companion

    found = optional("lancedb", "lancedb").connect(str(path)).list_tables(limit=10_000).tables
    return sorted(name for name in found if not is_companion(name))


class LanceStore(Store):
    """See `Store`."""

    host = "lancedb"

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        import energy_lancedb  # noqa: F401 - registers the embedding function

        self._connection = optional("lancedb", "lancedb").connect(str(path))
        self.table: Any = self._connection.open_table(name)
        self._energy: Any = None

    @classmethod
    def create(cls, path: Path, name: str, embedder: Embedder) -> LanceStore:
        """See `Store.create`."""
        import pyarrow as pa
        from energy_lancedb import optical
        from lancedb.embeddings import EmbeddingFunctionConfig

        kinds = {"part": pa.int32(), "parts": pa.int32(), "page": pa.int32()}
        schema = pa.schema(
            [
                *(pa.field(field, kinds.get(field, pa.string())) for field in FIELDS),
                pa.field("vector", pa.list_(pa.float32(), embedder.dim)),
            ]
        )
        functions = None
        if embedder.optical:
            functions = [
                EmbeddingFunctionConfig(
                    source_column="text", vector_column="vector", function=optical(embedder.name)
                )
            ]
        else:
            schema = schema.with_metadata({EMBEDDER: embedder.name})
        connection = optional("lancedb", "lancedb").connect(str(path))
        connection.create_table(name, schema=schema, embedding_functions=functions)
        return cls(path, name)

    @property
    def embedder_name(self) -> str | None:
        """See `Store.embedder_name`."""
        name = (self.table.schema.metadata or {}).get(EMBEDDER.encode())
        return None if name is None else name.decode("utf-8")

    @property
    def energy(self) -> Any:
        """The EnergyTable."""
        from energy_lancedb import EnergyTable

        if self._energy is None:
            self._energy = EnergyTable(self.table)
        return self._energy

    def count(self) -> int:
        """Rows of the table."""
        return int(self.table.count_rows())

    def sources(self) -> Iterator[tuple[str, str, int, int]]:
        """(source, sha256, part, parts) of each row."""
        wanted = ["source", "sha256", "part", "parts"]
        if not set(wanted) <= set(self.table.schema.names):
            raise InvalidInputError(
                f"Table {self.name!r} in {self.path} was not made by 'index': it lacks "
                f"{', '.join(wanted)}. Give another --name."
            )
        for batch in self.table.search().select(wanted).limit(None).to_batches():
            yield from zip(*(batch[name].to_pylist() for name in wanted), strict=True)

    def add(self, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
        """Store rows in one commit, after one that adds the columns of new fields."""
        import pyarrow as pa

        brought = self._fields(rows)
        schema = self.table.schema
        names = [name for name in FIELDS if name in schema.names]
        columns = [
            pa.array([getattr(row, name) for row in rows], schema.field(name).type)
            for name in names
        ]
        columns += [
            pa.array([_cast(row.fields.get(field), kind) for row in rows], kind)
            for field, kind in brought.values()
        ]
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        self.table.add(pa.Table.from_arrays(columns, names=[*names, *brought, "vector"]))

    def _fields(self, rows: Sequence[Row]) -> dict[str, tuple[str, Any]]:
        """Columns for the rows' fields, made where missing: column → (field, type).

        A field whose values do not fit its column has a second one, of text.
        """
        import pyarrow as pa

        kinds: dict[str, Any] = {}
        for row in rows:
            for name, value in row.fields.items():
                kinds[name] = _wider(kinds.get(name), _kind(value))
        schema = self.table.schema
        present = {name: schema.field(name).type for name in schema.names}
        found: dict[str, tuple[str, Any]] = {}
        new: list[Any] = []
        room = MOST_COLUMNS - len(present)
        for name, kind in kinds.items():
            column, held = name, present.get(name)
            if held == pa.int64() and kind == pa.float64():
                self.table.alter_columns({"path": name, "data_type": kind})
                held = kind
            if held is not None and _wider(held, kind) != held:
                column, kind = f"{name}_text", pa.string()  # noqa: PLW2901 - another column
                held = present.get(column)
            if held is None and len(new) < room:
                new.append(pa.field(column, kind))
                held = kind
            if held is not None:
                found[column] = (name, held)
        if new:
            self.table.add_columns(new)
        return found

    def remove(self, sources: Iterable[str]) -> None:
        """Delete the rows of some files."""
        names = list(sources)
        for start in range(0, len(names), 500):
            self.table.delete(f"source IN ({_quoted(names[start : start + 500])})")

    def fetch(
        self, *, ids: Sequence[str] | None = None, source: str | None = None
    ) -> list[Passage]:
        """See `Store.fetch`.

        Raises
        ------
        InvalidInputError
            The table has no column ``id`` or ``source`` to look for.
        """
        column = "source" if ids is None else "id"
        self.table.checkout_latest()
        schema = self.table.schema
        if column not in schema.names:
            raise InvalidInputError(
                f"Table {self.name!r} in {self.path} has no column {column!r}, by which rows are "
                f"read. Its columns are {', '.join(schema.names)}."
            )
        wanted = [str(source)] if ids is None else list(ids)
        names = [n for n in schema.names if n in FIELDS or self._is_field(n)]
        found: list[Passage] = []
        for start in range(0, len(wanted), 500):
            asked = f"{column} IN ({_quoted(wanted[start : start + 500])})"
            rows = self.table.search().where(asked).select(names).limit(None).to_list()
            found += [_passage(row) for row in rows]
        return found

    def embed_query(self, text: str) -> NDArray[np.float32] | None:
        """See `Store.embed_query`."""
        from energy_lancedb import OpticalEmbeddingFunction

        config = self.table.embedding_functions.get(self._column)
        if config is None or not isinstance(config.function, OpticalEmbeddingFunction):
            return None
        return np.asarray(config.function.compute_query_embeddings(text)[0], dtype=np.float32)

    @property
    def has_words(self) -> bool:
        """A full-text index stands on the texts."""
        return any(
            each.index_type == "FTS" and "text" in each.columns
            for each in self.table.list_indices()
        )

    def search(
        self, text: str, k: int, *, vector: Any | None, where: str | None, ranking: str
    ) -> list[Hit]:
        """The k best rows of one ranking; fusion is LanceDB's own."""
        self.table.checkout_latest()  # other processes write
        asked, score = self._asked(text, vector, ranking)
        if where is not None:
            asked = asked.where(where)
        if ranking in ("energy", "hybrid"):
            asked = asked.with_terms()
        found = asked.select(self._shown(score, ranking)).limit(k).to_arrow().to_pylist()
        for row in found:  # scores fall where distances rise
            row["_distance"] = row[score] if score == "_distance" else -row[score]
        return [_hit(row, number) for number, row in enumerate(found)]

    def _asked(self, text: str, vector: Any | None, ranking: str) -> tuple[Any, str]:
        """A search that is ready to run, and the column of its score."""
        column = self._column
        question = text if vector is None else vector
        if ranking == "energy":
            return self.energy.search(question), "_distance"
        if ranking == "hybrid":
            if vector is None:
                return self.energy.search(text, query_type="hybrid"), "_distance"
            return self.energy.search(query_type="hybrid").vector(vector).text(text), "_distance"
        if ranking == "words":
            return self.table.search(text, query_type="fts", fts_columns="text"), "_score"
        if ranking == "fusion":
            from lancedb.rerankers import RRFReranker

            known = self.embed_query(text) if vector is None else vector
            asked = self.table.search(query_type="hybrid", vector_column_name=column)
            both = asked.vector(known).text(text).rerank(RRFReranker())
            return both, "_relevance_score"
        asked = self.table.search(question, vector_column_name=column)
        return asked.distance_type("cosine"), "_distance"

    def _build(self, engine: str, show_progress_bar: bool) -> None:
        self.energy.build(engine=engine, show_progress_bar=show_progress_bar)

    def build_or_refresh(self, *, show_progress_bar: bool, engine: str = "local") -> str:
        """Give every row its energy columns, and every text its place in a full-text index."""
        done = super().build_or_refresh(engine=engine, show_progress_bar=show_progress_bar)
        if not self.has_words:
            from lancedb.index import FTS

            self.energy.create_index("text", config=FTS())
        return done

    def content(self) -> Content:
        """All rows with a vector."""
        column = self._column
        wanted = ("id", "text", "source", "page")
        names = [name for name in wanted if name in self.table.schema.names]
        rows = self.table.search().select([*names, column]).with_row_id(True).limit(None)
        found = rows.to_arrow()
        found = found.filter(found[column].is_valid())
        ids = found["id" if "id" in names else "_rowid"].to_pylist()
        texts = found["text"].to_pylist() if "text" in names else [""] * len(ids)
        paged = "source" in names and "page" in names
        sources = found["source"].to_pylist() if "source" in names else [None] * len(ids)
        pages = found["page"].to_pylist() if paged else [None] * len(ids)
        dim = found.schema.field(column).type.list_size
        flat = found[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Content(
            [str(each) for each in ids],
            [str(each or "") for each in texts],
            flat.reshape(-1, dim).astype(np.float32, copy=False),
            [place(source, page) for source, page in zip(sources, pages, strict=True)],
            sources,
        )

    def forget(self, now: Any, column: str, *, dry_run: bool) -> Any:
        """See `EnergyTable.forget`."""
        pins = PINNED if PINNED in self.table.schema.names else None
        return self.energy.forget(now, time_key=column, pin_key=pins, dry_run=dry_run)

    def columns(self) -> tuple[EnergyField, EnergyColumns, list[str]]:
        """See `Store.columns`."""
        from energy_lancedb.stored import stored_rows

        return stored_rows(self.energy)

    @property
    def _column(self) -> str:
        return str(self.energy.vector_column)

    def _shown(self, distance: str, ranking: str) -> list[str]:
        hidden = ("part", "parts", "sha256", "modified")
        shown = [n for n in self.table.schema.names if n not in hidden and self._is_field(n)]
        return [*shown, distance] if ranking in ("cosine", "words") else shown

    def _is_field(self, name: str) -> bool:
        """Tell whether a column is to be shown: a plain value, and none of the plugin's."""
        return not name.startswith("energy_") and _plain(self.table.schema.field(name).type)


_TERM = "_term_"


def _quoted(values: Iterable[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def _passage(row: dict[str, Any]) -> Passage:
    known = {key: row.get(key) for key in ("source", "part", "page", "modified")}
    fields = {k: v for k, v in row.items() if k not in FIELDS and v is not None}
    return Passage(str(row.get("id", "")), str(row.get("text") or ""), **known, fields=fields)


def _hit(row: dict[str, Any], number: int) -> Hit:
    own = {*FIELDS, "_distance", "_relevance", "_score", "_relevance_score"}
    terms = {k.removeprefix(_TERM): row.pop(k) or 0.0 for k in list(row) if k.startswith(_TERM)}
    return Hit(
        id=str(row.get("id", number)),
        text=str(row.get("text") or ""),
        distance=float(row["_distance"]),
        source=row.get("source"),
        page=row.get("page"),
        relevance=row.get("_relevance"),
        terms=terms or None,
        fields={k: value for k, value in row.items() if k not in own and value is not None},
    )


def _plain(kind: Any) -> bool:
    """Tell whether JSON can show a column of that type."""
    from pyarrow import types

    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating)
    return any(check(kind) for check in (*checks, types.is_boolean))


def _kind(value: Any) -> Any:
    import pyarrow as pa

    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return kinds.get(type(value), pa.string())


def _wider(one: Any, other: Any) -> Any:
    """Type that holds the values of both."""
    import pyarrow as pa

    if one is None or one == other:
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.string()


def _cast(value: Any, kind: Any) -> Any:
    import pyarrow as pa

    if value is None or kind != pa.string() or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
