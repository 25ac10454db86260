"""What every host must do."""

import pytest
from support.rooms import CrashError, N, failing, text_of

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import (
    CorruptFieldError,
    EnergyPluginError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)
from energy_plugin.stored import Changes, FieldInfo, RepairReport
from energy_plugin.stored.moments import Moment, watching

OTHER = EnergyConfig(bits=8, seed=1)
MOMENTS = (*range(14), *range(14, 200, 17))  # writes that fail: each of the first, then some
ALL = {f"r{i}" for i in range(N)}


def ids(room, energy, text, k=5, **options):
    return [name for name, _ in room.search(energy, room.vector(text), k, **options)]


def answers(room, energy):
    """To three questions, up to the last digits."""
    found = [room.search(energy, room.vector(text_of(i)), 8) for i in (3, 17, 40)]
    return [[(name, round(distance, 4)) for name, distance in one] for one in found]


def sound(room):
    """A new object finds every row by its own vector and nothing wrong."""
    energy = room.open()
    assert energy.verify() == []
    names = {name for name, _ in room.search(energy, room.vector(text_of(1)), 10_000)}
    assert len(names) == room.count()
    return energy


def test_without_a_field(room):
    energy = room.open()
    for call in (energy.info, energy.refresh, energy.maintain, energy.refit, lambda: energy.field):
        with pytest.raises(NotBuiltError, match="build"):
            call()
    with pytest.raises(NotBuiltError):
        ids(room, energy, text_of(1))
    (missing,) = energy.verify()
    assert missing.kind == "missing"
    assert energy.repair() == RepairReport((missing,), (missing,))
    assert energy.repair(rebuild=True).sound
    assert energy.info().rows == N


def test_reopen(built):
    room, energy = built
    before, info = answers(room, energy), energy.info()
    assert isinstance(info, FieldInfo)
    assert (info.rows, info.generation, info.name) == (N, 1, room.name)
    assert info.pending == Changes()
    assert info.fidelity == {info.bits: N}
    assert info.bytes == info.field_bytes + info.column_bytes
    again = sound(room)
    assert answers(room, again) == before
    assert again.field.fingerprint == energy.field.fingerprint
    assert ids(room, again, text_of(7), 1) == ["r7"]


def test_changes_behind_the_back_are_seen_at_once(built):
    room, energy = built
    far = -room.vector(text_of(5))
    room.add_behind([100, 101])
    room.change_behind(9, far)
    room.delete_behind([3, 4])
    for one in (energy, room.open()):
        assert ids(room, one, text_of(100), 1) == ["r100"]
        assert [name for name, _ in room.search(one, far, 1)] == ["r9"]
        everything = set(ids(room, one, text_of(3), 10_000))
        assert everything == (ALL | {"r100", "r101"}) - {"r3", "r4"}
    kinds = [finding.kind for finding in energy.verify()]
    assert kinds
    assert set(kinds) == {"pending"}
    assert energy.refresh()
    assert energy.refresh() == Changes()
    assert room.open().info().pending == Changes()
    sound(room)


def test_rows_written_with_the_plugin_do_not_wait(built):
    room, energy = built
    room.add(energy, [200, 201])
    assert energy.info().pending == Changes()
    assert room.open().info().pending == Changes()
    assert ids(room, sound(room), text_of(201), 1) == ["r201"]


def test_filters_come_before_ranking(built):
    room, energy = built
    found = ids(room, energy, text_of(50), 10, most=12)
    assert len(found) == 10
    assert set(found) <= {f"r{i}" for i in range(13)}
    assert len(ids(room, energy, text_of(50), 10, most=4)) == 5
    assert ids(room, energy, text_of(50), 10, most=-1) == []


def test_k_above_the_rows(built):
    room, energy = built
    found = room.search(energy, room.vector(text_of(2)), N + 50)
    assert {name for name, _ in found} == ALL
    distances = [distance for _, distance in found]
    assert distances == sorted(distances)
    for k in (0, -1):
        with pytest.raises((InvalidInputError, ValueError, TypeError)):
            room.search(energy, room.vector(text_of(2)), k)


def test_all_rows_gone_and_back(built):
    room, energy = built
    room.delete_behind(range(N))
    assert ids(room, energy, text_of(2)) == []
    room.add_behind([300])
    assert ids(room, energy, text_of(2)) == ["r300"]


def test_a_foreign_field_is_refused(built):
    room, _ = built
    room.give_to_another_embedder()
    other = room.open()
    with pytest.raises(ForeignFieldError):
        ids(room, other, text_of(1))
    assert [finding.kind for finding in other.verify()] == ["foreign"]
    report = other.repair()
    assert report.found == report.remaining
    assert room.open().repair(rebuild=True).sound
    sound(room)


def test_corrupt_bytes_are_refused_and_replaced_when_asked(built):
    room, _ = built
    room.damage()
    energy = room.open()
    with pytest.raises(CorruptFieldError, match="uild"):
        ids(room, energy, text_of(1))
    assert [finding.kind for finding in energy.verify()] == ["corrupt"]
    report = energy.repair()
    assert report.found == report.remaining
    assert energy.repair(rebuild=True).remaining == ()
    sound(room)


def test_a_renamed_host_keeps_its_field(built):
    room, energy = built
    before = answers(room, energy)
    del energy
    room.rename()
    again = sound(room)
    assert answers(room, again) == before
    assert again.name == "papers"
    again.refit(OTHER)
    assert sound(room).info().bits == 8


def test_forgetting_lowers_old_rows_alone(room):
    energy = room.open()
    room.build(energy, OTHER)
    plan = energy.forget("2025-03-01", time_key="seen")
    assert len(plan.rows) > 0
    assert energy.info().fidelity == {8: N}
    energy.forget("2025-03-01", time_key="seen", dry_run=False)
    info = room.open().info()
    assert sum(info.fidelity.values()) == N
    assert min(info.fidelity) < 8
    assert ids(room, sound(room), text_of(1), 1) == ["r1"]
    energy.refit()
    assert room.open().info().fidelity == info.fidelity
    with pytest.raises(InvalidInputError, match="nowhere"):
        energy.forget("2025-03-01", time_key="nowhere")


def test_two_writers(built):
    room, first = built
    second = room.open()
    assert answers(room, second) == answers(room, first)
    room.build(second, OTHER)
    assert first.info().bits == 8
    assert answers(room, first) == answers(room, second)
    room.add(first, [400])
    room.add(second, [401])
    first.refit()
    second.maintain()
    second.refresh()
    for one in (first, second):
        assert ids(room, one, text_of(400), 1) == ["r400"]
        assert ids(room, one, text_of(401), 1) == ["r401"]
    sound(room)


def test_drop_leaves_the_rows(built):
    room, energy = built
    energy.drop()
    assert room.count() == N
    for one in (energy, room.open()):
        with pytest.raises(NotBuiltError):
            one.info()
    room.build(energy)
    sound(room)


@pytest.mark.parametrize("verb", ["build", "refresh"])
def test_a_crash_between_any_two_writes(built, verb):
    """After each there is a whole field, the former or the new one, and all rows."""
    room, _ = built
    if verb == "refresh":
        room.add_behind([500])
    for at in MOMENTS:
        energy = room.open()
        former, before = answers(room, energy), energy.info()
        finished = True
        with failing(at) as written:
            try:
                if verb == "build":
                    room.build(energy, EnergyConfig(seed=at))
                else:
                    energy.refresh()
            except (CrashError, EnergyPluginError):
                finished = False
            crashed = len(written) == at
        later = room.open()
        now = later.info()
        assert now.generation >= before.generation
        if now.generation == before.generation:
            assert answers(room, later) == former
        assert set(ids(room, later, text_of(2), 10_000)) >= ALL
        assert later.repair().remaining == ()
        sound(room)
        if verb == "refresh" and at % 2:  # something to do for the next one
            room.add_behind([501 + at])
        if finished and not crashed:
            return
    raise AssertionError(f"{verb} writes more than {at} times")


def test_no_write_comes_unannounced(room, monkeypatch):
    """`Moment.WRITING` stands before every call of the database's own methods that write."""
    announced, unannounced, calls = [], [], []

    def spied(original, name):
        def call(*args, **kwargs):
            outermost = not calls
            if outermost:
                if not announced:
                    unannounced.append(name)
                announced.clear()
            calls.append(name)
            try:
                return original(*args, **kwargs)
            finally:
                calls.pop()

        return call

    for owner, name in room.writes():
        plain = getattr(owner, name)
        kind = staticmethod if isinstance(owner.__dict__[name], staticmethod) else lambda one: one
        monkeypatch.setattr(owner, name, kind(spied(plain, name)))
    total = []

    def note(moment):
        if moment is Moment.WRITING:
            announced.append(moment)
            total.append(moment)

    with watching(note):
        energy = room.open()
        room.build(energy)
        room.build(energy, OTHER)
        energy.forget("2025-03-01", time_key="seen", dry_run=False)
        energy.drop()
    assert unannounced == []
    assert len(total) > 4


def test_rows_by_lambda(built):
    """The window finds what sorting all rows finds; a row's own λ leaves the row out."""
    _, energy = built
    every = energy.search_lambda(0.0, N)
    assert len(set(every.ids)) == len(every) == N
    assert (every.lambdas[1:] >= every.lambdas[:-1]).all()
    middle = float(every.lambdas[N // 2])
    for value in (middle, 0.0, 1.0, -3.0, middle + 1e-4):
        found = energy.search_lambda(value, 7)
        gaps = sorted(abs(each - value) for each in every.lambdas.tolist())[:7]
        assert found.gaps.tolist() == pytest.approx(gaps, abs=1e-6)
    row = every.ids[N // 2]
    near = energy.search_lambda(row, 3)
    assert row not in near.ids
    known = dict(zip(every.ids, every.lambdas.tolist(), strict=True))
    assert near.gaps.tolist() == pytest.approx(
        sorted(abs(value - middle) for name, value in known.items() if name != row)[:3], abs=1e-6
    )
    for bad in (float("nan"), True, None, "no such row", 10**18):
        with pytest.raises(InvalidInputError, match="value_or_row"):
            energy.search_lambda(bad)
    with pytest.raises(InvalidInputError, match="k"):
        energy.search_lambda(0.5, 0)
