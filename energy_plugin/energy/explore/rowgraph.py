"""The row graph: each row's nearest rows, and what can be read off it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, dijkstra

from energy_plugin.energy.distance import dirichlet
from energy_plugin.energy.fit.neighbours import (
    EXACT_ROWS,
    cell_neighbours,
    exact_neighbours,
    neighbour_count,
)
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class RowGraph:
    """Rows and the k nearest rows of each, by the heated rows that codes hold.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64
        Row numbers, ascending.
    near : ndarray of shape (n, k), int64
        Places in `rows` of each row's neighbours, nearest first.
    distances : ndarray of shape (n, k), float32
        D of the energy distance to each of them.
    """

    rows: NDArray[np.int64]
    near: NDArray[np.int64]
    distances: NDArray[np.float32]

    @classmethod
    def of(cls, store: RowStore, k: int) -> RowGraph:
        """The graph of a store's live rows; see `EnergyIndex.row_graph`."""
        live = np.flatnonzero(store.alive)
        count = neighbour_count(len(live), k) if len(live) > 1 else 0
        if count == 0:
            nothing = np.empty((len(live), 0))
            return cls(store.numbers[live], nothing.astype(np.int64), nothing.astype(np.float32))
        points = store.take(live)
        if len(live) <= EXACT_ROWS:
            near = exact_neighbours(points, count)
        else:
            cell = store.projection.graph.anchors.new_tensor(store.columns.cell[live]).long()
            near = cell_neighbours(points, count, cell.clamp_min(0), store.projection.graph.anchors)
        distances = np.empty(tuple(near.shape), dtype=np.float32)
        for column in range(count):
            similarity = (points * points[near[:, column]]).sum(1)
            distances[:, column] = dirichlet(similarity).cpu().numpy()
        return cls(store.numbers[live], near.cpu().numpy(), distances)

    @cached_property
    def adjacency(self) -> csr_array:
        """Distances of neighbours in either direction, symmetric; (n, n)."""
        n, k = self.near.shape
        own = np.repeat(np.arange(n), k)
        length = np.maximum(self.distances.ravel(), 1e-6)  # an explicit 0 would be no edge
        graph = csr_array((length, (own, self.near.ravel())), shape=(n, n))
        graph.setdiag(0)
        graph.eliminate_zeros()
        return csr_array(graph.maximum(graph.T))

    @cached_property
    def mutual(self) -> csr_array:
        """1 where two rows are each other's neighbours; symmetric, (n, n)."""
        n, k = self.near.shape
        own = np.repeat(np.arange(n), k)
        graph = csr_array((np.ones(n * k, dtype=np.int8), (own, self.near.ravel())), shape=(n, n))
        graph.setdiag(0)
        graph.eliminate_zeros()
        graph.data[:] = 1
        return csr_array(graph.multiply(graph.T))

    def path(self, start: Any, end: Any) -> list[int]:
        """Rows on the shortest way from one row to another, both included.

        Returns
        -------
        list of int
            Row numbers; empty where no way leads there.

        Raises
        ------
        InvalidInputError
            A number is not in the graph.
        """
        a, b = self._place(start), self._place(end)
        _, before = dijkstra(self.adjacency, directed=False, indices=a, return_predecessors=True)
        if a != b and before[b] < 0:
            return []
        way = [b]
        while way[-1] != a:
            way.append(int(before[way[-1]]))
        return [int(self.rows[place]) for place in reversed(way)]

    def around(self, row: Any, hops: int = 1) -> NDArray[np.int64]:
        """Rows within at most this many edges, the row itself first; (s,) int64.

        Raises
        ------
        InvalidInputError
            The number is not in the graph, or `hops` is negative.
        """
        if hops < 0:
            raise InvalidInputError(f"hops is {hops}, expected 0 or more")
        place = self._place(row)
        order, before = breadth_first_order(self.adjacency, place, directed=False)
        depth = np.full(len(self.rows), -1)
        depth[place] = 0
        for node in order[1:]:
            depth[node] = depth[before[node]] + 1
        return self.rows[order[depth[order] <= hops]]

    def triangles(self) -> NDArray[np.int64]:
        """Three rows that are all each other's neighbours; (t, 3) int64, each once, ascending."""
        graph = self.mutual
        found: list[tuple[int, int, int]] = []
        for a in range(len(self.rows)):
            mine = graph.indices[graph.indptr[a] : graph.indptr[a + 1]]
            mine = np.sort(mine[mine > a])
            for b in mine:
                theirs = graph.indices[graph.indptr[b] : graph.indptr[b + 1]]
                both = np.intersect1d(mine, theirs[theirs > b])
                found.extend((a, int(b), int(c)) for c in both)
        places = np.array(found, dtype=np.int64).reshape(-1, 3)
        return self.rows[places]

    def cliques(self, size: int = 3) -> list[NDArray[np.int64]]:
        """Largest sets of at least `size` rows that are all each other's neighbours.

        Returns
        -------
        list of ndarray of int64
            The largest first; a row can stand in several.
        """
        import networkx

        graph = networkx.from_scipy_sparse_array(self.mutual)
        found = [np.sort(self.rows[c]) for c in networkx.find_cliques(graph) if len(c) >= size]
        return sorted(found, key=lambda clique: (-len(clique), clique.tolist()))

    def _place(self, row: Any) -> int:
        place = int(np.searchsorted(self.rows, row)) if isinstance(row, int | np.integer) else -1
        if not 0 <= place < len(self.rows) or self.rows[place] != row:
            raise InvalidInputError(
                f"row is {row!r}, which is not in the graph of {len(self.rows)} rows. Pass a "
                "number that is in graph.rows; make the graph again after rows were added."
            )
        return place
