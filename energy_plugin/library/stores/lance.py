"""A LanceDB table behind the calls of `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.library.stores.store import FIELDS, Content, Hit, Row, Store

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField


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
    def create(cls, path: Path, name: str, encoder: str, dim: int) -> LanceStore:
        """Make a table whose text column is embedded by an optical encoder."""
        import pyarrow as pa
        from energy_lancedb import optical
        from lancedb.embeddings import EmbeddingFunctionConfig

        kinds = {"part": pa.int32(), "parts": pa.int32()}
        schema = pa.schema(
            [
                *(pa.field(field, kinds.get(field, pa.string())) for field in FIELDS),
                pa.field("vector", pa.list_(pa.float32(), dim)),
            ]
        )
        function = EmbeddingFunctionConfig(
            source_column="text", vector_column="vector", function=optical(encoder)
        )
        connection = optional("lancedb", "lancedb").connect(str(path))
        connection.create_table(name, schema=schema, embedding_functions=[function])
        return cls(path, name)

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

    def sources(self) -> list[tuple[str, str, int]]:
        """(source, sha256, parts) of each row."""
        wanted = ["source", "sha256", "parts"]
        if not set(wanted) <= set(self.table.schema.names):
            raise InvalidInputError(
                f"Table {self.name!r} in {self.path} was not made by 'index': it lacks "
                f"{', '.join(wanted)}. Give another --name."
            )
        found = self.table.search().select(wanted).limit(None).to_arrow()
        columns = (found[name].to_pylist() for name in wanted)
        return list(zip(*columns, strict=True))

    def add(self, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
        """Store rows in one commit."""
        import pyarrow as pa

        schema = self.table.schema
        columns = [
            pa.array([getattr(row, field) for row in rows], schema.field(field).type)
            for field in FIELDS
        ]
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        self.table.add(pa.Table.from_arrays(columns, names=[*FIELDS, "vector"]))

    def remove(self, sources: Iterable[str]) -> None:
        """Delete the rows of some files."""
        quoted = ["'" + source.replace("'", "''") + "'" for source in sources]
        for start in range(0, len(quoted), 500):
            self.table.delete(f"source IN ({', '.join(quoted[start : start + 500])})")

    def embed_query(self, text: str) -> NDArray[np.float32] | None:
        """See `Store.embed_query`."""
        from energy_lancedb import OpticalEmbeddingFunction

        config = self.table.embedding_functions.get(self._column)
        if config is None or not isinstance(config.function, OpticalEmbeddingFunction):
            return None
        return np.asarray(config.function.compute_query_embeddings(text)[0], dtype=np.float32)

    def search(self, question: Any, k: int, *, where: str | None, ranking: str) -> list[Hit]:
        """The k nearest rows."""
        if ranking == "energy":
            asked = self.energy.search(question)
        else:
            asked = self.table.search(question, vector_column_name=self._column)
            asked = asked.distance_type("cosine")
        if where is not None:
            asked = asked.where(where)
        found = asked.select(self._shown("_distance", ranking)).limit(k).to_arrow().to_pylist()
        return [_hit(row, place) for place, row in enumerate(found)]

    def content(self) -> Content:
        """All rows with a vector."""
        column = self._column
        names = [name for name in ("id", "text") if name in self.table.schema.names]
        rows = self.table.search().select([*names, column]).with_row_id(True).limit(None)
        found = rows.to_arrow()
        found = found.filter(found[column].is_valid())
        ids = found["id" if "id" in names else "_rowid"].to_pylist()
        texts = found["text"].to_pylist() if "text" in names else [""] * len(ids)
        dim = found.schema.field(column).type.list_size
        flat = found[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Content(
            [str(each) for each in ids],
            [str(each or "") for each in texts],
            flat.reshape(-1, dim).astype(np.float32, copy=False),
        )

    def forget(self, now: Any, column: str, *, dry_run: bool) -> Any:
        """See `EnergyTable.forget`."""
        return self.energy.forget(now, time_key=column, dry_run=dry_run)

    def describe(self) -> dict[str, Any]:
        """See `Store.describe`."""
        info = self.energy.info()
        return {
            "rows": info.rows,
            "dim": info.dim,
            "generation": info.generation,
            "layout": info.layout,
            "cells": info.n_anchors,
            "bits": {str(bits): rows for bits, rows in info.fidelity.items()},
            "vector_bytes": 4 * info.dim * info.rows,
            "energy_column_bytes": info.column_bytes,
            "field_bytes": info.field_bytes,
            "drift": asdict(info.drift),
            "pending": len(info.pending),
            "embedder": info.embedder,
        }

    def repair(self) -> None:
        """See `Store.repair`."""
        self.energy.repair(rebuild=True)

    def columns(self) -> tuple[EnergyField, EnergyColumns, list[str]]:
        """See `Store.columns`."""
        from energy_lancedb.stored import stored_rows

        return stored_rows(self.energy)

    @property
    def _column(self) -> str:
        return str(self.energy.vector_column)

    def _shown(self, distance: str, ranking: str) -> list[str]:
        shown = [name for name in ("id", "text", "source") if name in self.table.schema.names]
        return shown if ranking == "energy" else [*shown, distance]


def _hit(row: dict[str, Any], place: int) -> Hit:
    return Hit(
        id=str(row.get("id", place)),
        text=str(row.get("text") or ""),
        distance=float(row["_distance"]),
        source=row.get("source"),
    )
