"""The moments of a write, as `energy_plugin.stored.moments` lists them."""

import inspect

import pytest

from energy_plugin.stored import moments
from energy_plugin.stored.moments import Moment, reached, watching

ORDER = {  # of a first build; not counted are single changes
    "LanceRoom": "FITTING NUMBERED FIELD_WRITTEN AT_VERSION COLUMNS_WRITTEN FLIPPED SWEPT INDEXED",
    "LanceBesideRoom": "FITTING NUMBERED FIELD_WRITTEN COLUMNS_WRITTEN FLIPPED SWEPT",
    "ChromaRoom": "FITTING NUMBERED FIELD_WRITTEN COLUMNS_WRITTEN FLIPPED SWEPT SHOWN",
    "ChromaServerRoom": "FITTING NUMBERED FIELD_WRITTEN COLUMNS_WRITTEN FLIPPED SWEPT SHOWN",
    "SqliteRoom": "FITTING FLIPPED",
}


def test_a_build_passes_its_moments_in_order(room):
    found = []
    with watching(found.append):
        room.build(room.open())
    assert Moment.WRITING in found
    passed = [moment.name for moment in found if moment is not Moment.WRITING]
    assert " ".join(passed) == ORDER[type(room).__name__]


def test_every_moment_is_described():
    for moment in Moment:
        assert f"`{moment.name}`" in inspect.getdoc(moments)


def test_what_a_watcher_raises_goes_up_and_watching_ends():
    def refuse(moment):
        raise OSError(moment.value)

    with watching(refuse), pytest.raises(OSError, match="next call changes"):
        reached(Moment.WRITING)
    reached(Moment.WRITING)


def test_several_may_watch():
    one, other = [], []
    with watching(one.append), watching(other.append):
        reached(Moment.SWEPT)
    assert one == other == [Moment.SWEPT]
