"""Some rows ranked by their own columns, as a search among them ranks, without an index.

For the candidates of a host's own search: one query, at most a few hundred rows. More of them, and
rows on another device than the CPU, are ranked by `exhaustive`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from energy_plugin.energy.blocks import EPS
from energy_plugin.energy.columns import NO_CELL, EnergyColumns
from energy_plugin.energy.distance import CAP
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.search import exhaustive, ranking, single
from energy_plugin.energy.search.blend import Floats, Scene, blend, dirichlet, flowed
from energy_plugin.energy.search.effort import multiply_adds
from energy_plugin.energy.search.local import OUT
from energy_plugin.energy.search.relevance import of_rows
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.energy.search.words import SCALE, Words, as_weight, default_share
from energy_plugin.neutral import neutral
from energy_plugin.threads import threads_for
from energy_plugin.validation import as_queries

if TYPE_CHECKING:
    from energy_plugin.energy.field import EnergyField


@neutral()
def among(
    field: EnergyField,
    columns: EnergyColumns,
    query: Any,
    *,
    lexical: Floats | None = None,
    lexical_weight: float | None = None,
    relevance: bool = False,
    device: str | None = None,
) -> tuple[Floats, Floats | None]:
    """Energy distance of each row to one query, and its relevance.

    Parameters
    ----------
    field : EnergyField
    columns : EnergyColumns
        Of c rows, known to be the field's own: they are not checked again.
    query : array_like of shape (d,) or (1, d)
    lexical : ndarray of shape (c,), float32, optional
        Scores of another retriever, finite and at least 0; 0 where no word matches.
    lexical_weight : float, optional
        Share of the words, 0 to 1; a middle one if not given.
    relevance : bool, default False
        Compute it too.
    device : {"cuda", "mps", "cpu"}, optional

    Returns
    -------
    distances : ndarray of shape (c,), float32
        What `EnergyIndex.search` gives these rows where it may find no others.
    relevance : ndarray of shape (c,), float32, or None
        The same.

    Raises
    ------
    InvalidInputError
        The query or the share is not valid.
    """
    checked, weight = as_queries(query, field.dim, name="query"), as_weight(lexical_weight)
    share = default_share(field.config) if weight is None else weight
    if lexical is not None and not lexical.any():
        lexical = None
    count = len(columns)
    with threads_for(multiply_adds(field, 1, count)):
        projection = field.projection(device)
        if count == 0:
            rows = torch.zeros(0, field.dim, dtype=torch.float32, device=projection.device)
            distances = np.zeros(0, dtype=np.float32)
        elif count > SCALE or projection.device.type != "cpu":
            rows, distances = _many(projection, columns, checked, lexical, share)
        else:
            rows = projection.decode(columns.cell, columns.residual)
            scene, lengths = _scene(projection, columns, checked[0], rows.numpy())
            if lexical is None:
                distances = _by_energy(scene, lengths, graph=ranking.local_graph(projection))
            else:
                distances = blend(scene, lexical, share).total
        if not relevance:
            return distances, None
        asked = torch.from_numpy(checked).to(projection.device)
        return distances, of_rows(projection, asked, rows[None])[0].cpu().numpy()


def _many(
    projection: Projection,
    columns: EnergyColumns,
    query: Floats,
    lexical: Floats | None,
    share: float,
) -> tuple[torch.Tensor, Floats]:
    """Decoded rows and distances."""
    store, count = RowStore(projection, columns), len(columns)
    prepared = exhaustive.prepare(projection, query)
    if lexical is not None:
        places = np.flatnonzero(lexical)
        words = Words(np.array([0, len(places)]), places, lexical[places], share)
        prepared = replace(prepared, words=words)
    found = exhaustive.exhaustive(store, prepared, count, np.arange(count))
    distances = np.empty(count, dtype=np.float32)
    distances[found.ids[0]] = found.distances[0]
    return store.decoded(), distances


def _scene(
    projection: Projection, columns: EnergyColumns, query: Floats, rows: Floats
) -> tuple[Scene, Floats]:
    """Query and decoded rows, and the lengths of those."""
    field = projection.field
    lengths = np.maximum(np.sqrt(np.einsum("ij,ij->i", rows, rows)), np.float32(EPS))
    hidden = columns.cell == NO_CELL
    asked = single.prepare(projection, query)
    if asked is None:  # without direction
        asked = single.Asked(np.zeros(field.dim, dtype=np.float32), 0.0, 0.0)
    terms = np.zeros(len(rows), dtype=np.float32)
    own, stored = (asked.lambda_, asked.dispersion), (columns.lambda_, columns.dispersion)
    for which, weight in enumerate(field.config.weights[:2]):
        if weight:
            terms += single.apart(projection, which, own[which], stored[which])
    terms[hidden] = CAP * sum(field.config.weights[:2])
    scene = Scene(
        config=field.config,
        heat=field.scalars.heat,
        point=asked.point,
        y=rows / lengths[:, None],
        hidden=hidden if hidden.any() else None,
        terms=terms,
    )
    return scene, lengths


def _by_energy(scene: Scene, lengths: Floats, *, graph: bool) -> Floats:
    """Distances by energy alone; see `ranking.finish` and `local`."""
    config, heat, count = scene.config, scene.heat, len(scene.y)
    similarity = scene.y @ scene.point
    total = _distances(scene, lengths * similarity)  # base distances, of rows as they are decoded
    if not graph:
        return total
    pool = min(config.pool, count)
    near: Any = slice(None)
    if pool < count:
        order = np.argsort(total, kind="stable")
        near, rest = order[:pool], order[pool:]
    part = scene.taken(near)
    s = similarity[near]
    if heat * config.query_heat > 0:
        known = s if part.hidden is None else np.where(part.hidden, np.float32(OUT), s)
        s = part.y @ part.pulled(known, config.query_heat, max(1, pool // 8))
    if heat * config.local_heat > 0 and pool > 1:
        s = flowed(part.graph(), s, heat * config.local_heat)
    total[near] = _distances(part, s)
    if pool < count:
        total[rest] += max(np.float32(0), total[near].max() - total[rest[0]])
    return total


def _distances(scene: Scene, similarity: Floats) -> Floats:
    weight = scene.config.weight_dirichlet
    last = dirichlet(weight, similarity)
    if scene.hidden is not None:
        last[scene.hidden] = weight
    return scene.terms + last
