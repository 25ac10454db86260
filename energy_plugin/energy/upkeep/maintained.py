"""What keeps an index good as its rows come, go and grow old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.codec.codes import lowered, stored_bits
from energy_plugin.energy.config import EnergyConfig, as_config
from energy_plugin.energy.fit import streaming
from energy_plugin.energy.indexed import IndexedRows
from energy_plugin.energy.upkeep import maintenance
from energy_plugin.energy.upkeep.maintenance import Drift, Maintenance
from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.validation import as_rows, as_vectors

if TYPE_CHECKING:
    from typing_extensions import Self


class Maintained(IndexedRows):
    """The part of `EnergyIndex` that outlives a fit: fidelity, drift, cells, the next field."""

    @neutral()
    def lower(self, rows: Any, bits: int) -> NDArray[np.int64]:
        """Drop bit planes of some rows; the others keep theirs.

        A code tells its own planes, so that rows of several fidelities share the index. The
        column keeps its width; `codes.drop_planes` narrows it once all rows are lower.

        Parameters
        ----------
        rows : array_like of shape (n,), int
            Row numbers.
        bits : {1, 2, 4, 8}
            Rows that have no more than that stay as they are.

        Returns
        -------
        ndarray of shape (m,), int64
            Numbers of the rows that changed, ascending.

        Raises
        ------
        InvalidInputError
            A number is not that of a live row, or other bits; nothing changes then.
        """
        wanted = np.unique(as_rows(rows))
        positions = self._store.positions(wanted)
        if len(positions) != len(wanted):
            raise InvalidInputError(
                f"{len(wanted) - len(positions)} of {len(wanted)} rows to lower are not in the "
                "index. Nothing was lowered; pass numbers that are in index.rows."
            )
        residual = self._store.columns.residual
        few = lowered(residual[positions], self.field.dim, bits)
        changed = stored_bits(residual[positions], self.field.dim) > bits
        if changed.any():
            self._store.recode(positions[changed], few[changed])
        return self._store.numbers[positions[changed]]

    @neutral()
    def drift(self) -> Drift:
        """How far the live rows have moved from what the field was fitted on.

        Returns
        -------
        Drift
            Near (1, 0) after a fit. A distortion above about 1.3 or a shift above about 1 says
            that a new fit will pay.
        """
        return maintenance.drift(self.field, self.columns)

    @neutral()
    def maintain(self, vectors: Any | None = None) -> Maintenance:
        """Split overloaded cells and merge close ones; codes of their rows are rewritten.

        The field changes (`index.field` is another one, to be stored with the columns of all
        rows), the numbers of the rows do not. Metric and heat stay: `refit` learns them again.

        Parameters
        ----------
        vectors : array_like of shape (n_live, d), optional
            Of the live rows, in the order of `rows`. Without them, codes and λ are made of the
            decoded rows, which costs a little precision each time.

        Returns
        -------
        Maintenance

        Raises
        ------
        InvalidInputError
            `vectors` are not those of the live rows.
        """
        store = self._store
        live = np.flatnonzero(store.alive)
        if vectors is None:
            points = exact = store.decode(live)
        else:
            exact, real = self._projection.project(self._live_vectors(vectors))
            points = maintenance.heated(exact, real, self.field)
        field, columns, report = maintenance.maintain(
            self.field, self._projection, store.columns.take(live), points, exact
        )
        if field is not self.field:
            self.field = field
            self._projection = field.projection(self.device)
            self._store = store.renewed(self._projection, columns, live)
        return report

    @neutral()
    def refit(
        self,
        vectors: Any | None = None,
        config: EnergyConfig | None = None,
        *,
        memory_limit: int | str | None = None,
    ) -> Self:
        """A new index of the live rows with a field fitted on them; row numbers are kept.

        Rows that have lost planes do not get them back.

        Parameters
        ----------
        vectors : array_like of shape (n_live, d), optional
            Of the live rows, in the order of `rows`. Without them, they are recovered from the
            decoded rows, which costs a little precision.
        config : EnergyConfig, optional
            That of the present field if not given.
        memory_limit : int or str, optional
            As in `fit`, beyond this index.

        Raises
        ------
        InvalidInputError
            No live rows, or `vectors` are not those of the live rows.
        """
        store = self._store
        live = np.flatnonzero(store.alive)
        if len(live) == 0:
            raise InvalidInputError("The index has no rows to fit a field on. Add rows first.")
        known = maintenance.Recovered(store, live) if vectors is None else vectors
        if memory_limit is None or not hasattr(known, "shape"):
            known = self._live_vectors(known)
        self._check_live(len(known))
        settings = self.field.config if config is None else as_config(config)
        field, columns = streaming.fit(
            known, settings, dim=self.field.dim, device=self.device, memory_limit=memory_limit
        )
        bits = stored_bits(store.columns.residual[live], self.field.dim)
        columns = maintenance.keep_fidelity(columns, self.field.dim, bits)
        index = type(self)(field, columns, device=self.device)
        index._store = store.renewed(index._projection, columns, live)
        return index

    def _live_vectors(self, vectors: Any) -> NDArray[np.float32]:
        given = as_vectors(vectors, dim=self.field.dim)
        self._check_live(len(given))
        return given

    def _check_live(self, count: int) -> None:
        if count != len(self):
            raise InvalidInputError(
                f"Got {count} vectors for {len(self)} live rows. Pass one for each of index.rows, "
                "in that order."
            )
