"""What an index can say about its rows without a question."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.explore import similar
from energy_plugin.energy.explore.rowgraph import RowGraph
from energy_plugin.energy.explore.similar import Neighbours
from energy_plugin.energy.indexed import IndexedRows
from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.validation import as_k


class Explored(IndexedRows):
    """The part of `EnergyIndex` that looks around: near rows, near λ, copies, the graph."""

    @neutral()
    def neighbours(self, row: int, k: int = 10) -> Neighbours:
        """The k live rows nearest to a stored row, without its vector.

        Parameters
        ----------
        row : int
            Number of a live row.
        k : int, default 10
            Clipped to the number of other live rows.

        Returns
        -------
        Neighbours
            ``ids`` and ``distances``, nearest first; the row itself is left out.

        Raises
        ------
        InvalidInputError
            The number is not that of a live row, or k is not positive.
        """
        return similar.neighbours(self._store, row, k)

    @neutral()
    def search_lambda(self, value_or_row: float | int, k: int = 10) -> Neighbours:
        """The k live rows whose λ is nearest to a value, or to that of a row.

        Parameters
        ----------
        value_or_row : float or int
            A float is a λ; an integer is the number of a live row, which is then left out.
        k : int, default 10
            Clipped to the number of rows that can be found.

        Returns
        -------
        Neighbours
            ``distances`` are the gaps in λ, ascending; equal gaps by row number.

        Raises
        ------
        InvalidInputError
            Neither a finite number nor the number of a live row, or k is not positive.
        """
        if isinstance(value_or_row, int | np.integer):
            place = similar.place_of(self._store, value_or_row)
            value = float(self._store.columns.lambda_[place])
            return similar.nearest_in_lambda(self._store, value, k, place)
        if not isinstance(value_or_row, float | np.floating) or not np.isfinite(value_or_row):
            raise InvalidInputError(
                f"value_or_row is {value_or_row!r}, expected a λ as a finite float, or the number "
                "of a live row as an int"
            )
        return similar.nearest_in_lambda(self._store, float(value_or_row), k, None)

    @neutral()
    def duplicates(self, threshold: float = similar.DUPLICATE) -> list[NDArray[np.int64]]:
        """Groups of near-duplicates: rows joined by pairs of at least that similarity.

        Every pair is compared, n²·d operations; memory stays bounded.

        Parameters
        ----------
        threshold : float, default 0.95
            Least inner product of two heated rows in the field's metric, where both have
            unit length. Copies lie just below 1: each has the other among its neighbours.

        Returns
        -------
        list of ndarray of int64
            Row numbers of each group of two or more, ascending; the largest group first.

        Raises
        ------
        InvalidInputError
            A threshold outside (0, 1].
        """
        return similar.duplicates(self._store, threshold)

    @neutral()
    def row_graph(self, k: int = 8) -> RowGraph:
        """The graph of the live rows and the k nearest of each, as it is now.

        For subgraphs around a row, paths between two rows, triangles and cliques.

        Parameters
        ----------
        k : int, default 8
            Neighbours of each row; fewer in small collections.
        """
        return RowGraph.of(self._store, as_k(k))
