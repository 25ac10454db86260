from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_plugin.energy.codec.codes import code_bytes, drop_planes, encode
from energy_plugin.errors import InvalidInputError
from energy_plugin.forgetting import Schedule, Step, ages_in_days

DIM = 24
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
ages = st.lists(st.one_of(st.floats(-1e3, 1e4), st.just(float("nan"))), min_size=1, max_size=30)


def test_default_steps_are_the_published_modes():
    steps = Schedule().steps
    assert [(step.mode, step.tokens, step.bits) for step in steps] == [
        ("large", 421, 8),
        ("base", 273, 4),
        ("small", 111, 2),
        ("tiny", 73, 1),
    ]


def test_a_plan_by_hand():
    plan = Schedule().plan(
        [-3, 0, 29.9, 30, 90, 364, 365, 9e9, np.nan],
        [8, 8, 8, 8, 8, 1, 8, 0, 8],
        DIM,
        modes_now=["large"] * 6 + ["tiny"] + ["large"] * 2,
    )
    assert plan.bits.tolist() == [8, 8, 8, 4, 2, 1, 1, 0, 8]
    assert plan.rows.tolist() == [3, 4, 6]
    assert {b: rows.tolist() for b, rows in plan.by_bits.items()} == {1: [6], 2: [4], 4: [3]}
    assert plan.re_read.tolist() == [3, 4, 5, 7]
    assert plan.modes == ["large"] * 3 + ["base"] + ["small"] * 2 + ["tiny"] * 2 + ["large"]
    assert plan.bytes_saved == (4 + 6 + 7) * 3  # planes of three bytes
    assert json.loads(json.dumps(plan.to_dict()))["steps"][3]["bytes_saved"] == 21


@given(ages, st.data())
def test_properties_of_a_plan(days, data):
    n = len(days)
    now = data.draw(st.lists(st.sampled_from([0, 1, 2, 4, 8]), min_size=n, max_size=n))
    schedule = Schedule.of([10, 20, 40])
    plan = schedule.plan(days, now, DIM)
    again = schedule.plan(days, now, DIM)
    assert plan.bits.tolist() == again.bits.tolist()  # deterministic
    assert (plan.bits <= plan.bits_now).all()  # fidelity never rises
    recent = ~(np.asarray(days) >= 10)
    assert (plan.bits == plan.bits_now)[recent].all()  # recent rows and ageless ones stay
    # Forgotten once, there is nothing left to forget; and rows only ever get older.
    assert schedule.plan(days, plan.bits, DIM).bytes_saved == 0
    older = schedule.plan(np.asarray(days) + 15, now, DIM)
    assert (older.bits <= plan.bits).all()
    one_by_one = [schedule.plan([a], [b], DIM).bytes_saved for a, b in zip(days, now, strict=True)]
    assert plan.bytes_saved == sum(one_by_one) == plan.bytes_now - plan.bytes_after


def test_saved_bytes_are_those_of_the_codes():
    import torch

    codes = encode(torch.randn(20, DIM, generator=torch.Generator().manual_seed(0)), 8)
    plan = Schedule().plan(np.linspace(0, 400, 20), codes[:, 0], DIM)
    kept = sum(
        drop_planes(codes[[row]], DIM, int(bits)).shape[1] for row, bits in enumerate(plan.bits)
    )
    assert plan.bytes_now == codes.size == 20 * code_bytes(DIM, 8)
    assert plan.bytes_after == kept


def test_every_kind_of_timestamp_is_the_same_age():
    then = NOW - timedelta(days=40)
    seconds = then.timestamp()
    kinds = [
        then,
        then.replace(tzinfo=None),
        then.astimezone(timezone(timedelta(hours=9))),
        then.isoformat(),
        "2026-04-22",
        "2026-04-22T00:00:00Z",
        date(2026, 4, 22),
        np.datetime64("2026-04-22"),
        seconds,
        int(seconds * 1e3),
        int(seconds * 1e6),
        int(seconds * 1e9),
        np.float32(np.nan),
        pd.NaT,
        None,
    ]
    found = ages_in_days(kinds, NOW)
    np.testing.assert_allclose(found[:-3], 40, atol=1e-9)
    assert np.isnan(found[-3:]).all()
    column = np.array(["2026-04-22T12", "NaT"], dtype="datetime64[us]")
    np.testing.assert_array_equal(ages_in_days(column, "2026-06-01"), [39.5, np.nan])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ages_in_days([1, "soon"], NOW), r"timestamps\[1\] is 'soon'.*ISO 8601"),
        (lambda: ages_in_days([True], NOW), r"timestamps\[0\] is bool"),
        (lambda: ages_in_days("2026", NOW), "timestamps is str"),
        (lambda: ages_in_days([1], None), "now is None"),
        (lambda: Schedule(()), "one or more Step"),
        (lambda: Schedule((Step(5, "large", 8),)), "expected 0"),
        (lambda: Schedule((Step(0, "gundam", 8),)), "expected a mode of"),
        (lambda: Schedule((Step(0, "base", 3),)), "bits of"),
        (lambda: Schedule((Step(0, "base", 4), Step(0, "base", 4))), "ages must rise"),
        (lambda: Schedule((Step(0, "tiny", 4), Step(9, "base", 4))), "must not rise with age"),
        (lambda: Schedule.of([1, 2]), "expected 3"),
        (lambda: Schedule.from_dict({"steps": []}), "this release reads 1"),
        (lambda: Schedule().plan([[1.0]], 4, DIM), r"expected \(n,\)"),
        (lambda: Schedule().plan(["old"], 4, DIM), "ages_in_days makes them"),
        (lambda: Schedule().plan([1.0], 3, DIM), "bits_now"),
        (lambda: Schedule().plan([1.0], 4, 0), "dim must be"),
        (lambda: Schedule().plan([1.0], 4, DIM, modes_now=[]), "0 modes for 1 rows"),
    ],
)
def test_what_makes_no_plan_is_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_round_trip():
    schedule = Schedule.of([1, 2.5, 3])
    assert Schedule.from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule
