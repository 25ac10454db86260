"""Any history of writes leaves the index that a plain model of it describes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.energy.codec import codes
from energy_plugin.errors import InvalidInputError

DIM = 10
CLOSE = 2e-4
CONFIG = {"local_heat": 0.0, "query_heat": 0.0, "weight_lambda": 0.02, "weight_dispersion": 0.01}
POOL = clustered(400, DIM, topics=6)[0]
QUERIES = clustered(3, DIM, topics=6, seed=8)[0]


def base_distances(index):
    """Distance of every live row to every query from its columns, in float64 and by loops of rows.

    w_λ|Δλ|/s_λ + w_G|ΔG|/s_G + w_D·D with terms of λ and G capped at 8, D = δ/(1 + δ); a row
    without direction has the largest of each.
    """
    field = index.field
    config, scalars, columns = field.config, field.scalars, index.columns
    projection = field.projection("cpu")
    points, real = projection.project(QUERIES)
    lambda_q, dispersion_q = (part.double().numpy() for part in projection.taumode(points, real))
    rows = projection.decode(columns.cell, columns.residual).double().numpy()
    gap = np.sqrt(np.maximum(0, 2 - 2 * points.double().numpy() @ rows.T))
    out = config.weight_dirichlet * gap / (1 + gap)
    for weight, scale, asked, held in (
        (config.weight_lambda, scalars.scale_lambda, lambda_q, columns.lambda_),
        (config.weight_dispersion, scalars.scale_dispersion, dispersion_q, columns.dispersion),
    ):
        out += weight * np.minimum(8, np.abs(asked[:, None] - held[None]) / scale)
    worst = 8 * (config.weight_lambda + config.weight_dispersion) + config.weight_dirichlet
    out[:, columns.cell < 0] = worst
    return out


class Histories(RuleBasedStateMachine):
    """Rows by number, with the bits that they still have; and the index under test."""

    @initialize(
        count=st.integers(1, 40),
        bits=st.sampled_from([1, 2, 4, 8]),
        anchors=st.sampled_from([None, 1, 5]),
        limit=st.sampled_from([0, 20_000]),
    )
    def fit(self, count, bits, anchors, limit):
        config = EnergyConfig(bits=bits, n_anchors=anchors, exhaustive_rows=limit, **CONFIG)
        self.vectors = dict(enumerate(POOL[:count]))
        self.bits = dict.fromkeys(self.vectors, bits)
        self.next = count
        self.index = EnergyIndex.fit(POOL[:count], config, device="cpu")

    def rows(self):
        return sorted(self.vectors)

    def matrix(self):
        return np.array([self.vectors[row] for row in self.rows()])

    @rule(picks=st.lists(st.integers(0, len(POOL)), min_size=1, max_size=12))
    def add(self, picks):
        new = np.array([POOL[i] if i < len(POOL) else np.zeros(DIM) for i in picks], np.float32)
        numbers = self.index.add(new)
        assert numbers.tolist() == list(range(self.next, self.next + len(picks)))
        self.vectors.update(zip(numbers.tolist(), new, strict=True))
        # where all rows have been narrowed, new ones are as narrow as the column
        self.bits.update(dict.fromkeys(numbers.tolist(), self.index.field.config.bits))
        self.next += len(picks)

    @precondition(lambda self: self.vectors)
    @rule(data=st.data())
    def remove(self, data):
        gone = data.draw(st.lists(st.sampled_from(self.rows()), min_size=1, max_size=15))
        self.index.remove(gone)
        for row in set(gone):
            del self.vectors[row], self.bits[row]

    @rule(row=st.integers(-3, 3))
    def remove_unknown(self, row):
        unknown = self.next + row if row >= 0 else row
        for call in (self.index.remove, lambda rows: self.index.lower(rows, 1)):
            with pytest.raises(InvalidInputError, match="not in the"):
                call([*self.rows()[:2], unknown])

    @precondition(lambda self: self.vectors)
    @rule(data=st.data(), bits=st.sampled_from([1, 2, 4, 8]))
    def lower(self, data, bits):
        rows = data.draw(st.lists(st.sampled_from(self.rows()), min_size=1, max_size=15))
        wanted = sorted({row for row in rows if self.bits[row] > bits})
        assert self.index.lower(rows, bits).tolist() == wanted
        for row in wanted:
            self.bits[row] = bits

    @rule(given=st.booleans())
    def maintain(self, given):
        self.index.maintain(self.matrix() if given and self.vectors else None)

    @precondition(lambda self: self.vectors)
    @rule(given=st.booleans())
    def refit(self, given):
        self.index = self.index.refit(self.matrix() if given else None)

    @rule()
    def reopen(self):
        """Through bytes; rows are numbered anew, as a host that stores them does."""
        field = EnergyField.from_bytes(self.index.field.to_bytes())
        old = self.rows()
        self.index = EnergyIndex.from_columns(field, self.index.columns, device="cpu")
        self.vectors = {new: self.vectors[row] for new, row in enumerate(old)}
        self.bits = {new: self.bits[row] for new, row in enumerate(old)}
        self.next = len(old)

    @invariant()
    def the_rows_are_those_of_the_model(self):
        index, rows = self.index, self.rows()
        assert index.rows.tolist() == rows
        assert len(index) == len(index.columns) == len(rows)
        stored = codes.stored_bits(index.columns.residual, DIM).tolist()
        assert stored == [self.bits[row] for row in rows]
        empty = [not self.vectors[row].any() for row in rows]
        assert (index.columns.cell < 0).tolist() == empty

    @invariant()
    def the_answers_are_those_of_the_model(self):
        index, rows = self.index, np.array(self.rows(), dtype=np.int64)
        wanted = base_distances(index)
        found = index.search(QUERIES, 1000, n_probe="all")
        assert found.ids.shape == (len(QUERIES), len(rows))
        for i, distances in enumerate(wanted):
            place = dict(zip(rows.tolist(), distances.tolist(), strict=True))
            assert sorted(found.ids[i].tolist()) == rows.tolist()
            got = [place[row] for row in found.ids[i].tolist()]
            np.testing.assert_allclose(got, np.sort(distances), atol=2 * CLOSE)
            np.testing.assert_allclose(found.distances[i], np.sort(distances), atol=CLOSE)
        few = index.search(QUERIES, 3, rows=rows[::2])
        assert np.isin(few.ids, rows[::2]).all()
        default = index.search(QUERIES, 4)
        assert np.isin(default.ids, rows).all()
        assert default.ids.shape == (len(QUERIES), min(4, len(rows)))


@pytest.mark.parametrize(
    ("examples", "steps"), [(12, 12), pytest.param(300, 40, marks=pytest.mark.slow)]
)
def test_histories(examples, steps):
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True
        ),
    )
