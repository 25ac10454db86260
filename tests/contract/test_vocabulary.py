"""Both hosts are spoken to in the same words."""

import inspect

import pytest
from energy_chroma import AsyncEnergyCollection, EnergyCollection
from energy_lancedb import AsyncEnergyTable, EnergyTable

from energy_plugin.stored import KINDS, FieldVerbs

VERBS = (
    *("build", "refresh", "maintain", "refit", "forget", "search_lambda"),
    *("verify", "repair", "info", "drop"),
)
# What only one host can do.
OWN = {
    EnergyTable: {"build": {"layout", "engine", "sample"}},
    EnergyCollection: {
        "build": {"row_columns", "lexical"},
        "verify": {"reach"},
        "repair": {"reach"},
    },
}


def shared(owner, verb):
    """The signature of a verb without what only this host has."""
    signature = inspect.signature(getattr(owner, verb))
    own = OWN[owner].get(verb, set())
    assert own <= set(signature.parameters)
    kept = [each for each in signature.parameters.values() if each.name not in own]
    return signature.replace(parameters=kept)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_one_signature(verb):
    assert shared(EnergyTable, verb) == shared(EnergyCollection, verb)
    for plain, waiting in (
        (EnergyTable, AsyncEnergyTable),
        (EnergyCollection, AsyncEnergyCollection),
    ):
        assert inspect.iscoroutinefunction(getattr(waiting, verb))
        assert inspect.signature(getattr(waiting, verb)) == inspect.signature(getattr(plain, verb))
        assert getattr(waiting, verb).__doc__ == getattr(plain, verb).__doc__


def test_verbs_are_written_once():
    for owner in (EnergyTable, EnergyCollection):
        for verb in set(VERBS) - set(OWN[owner]):
            assert getattr(owner, verb) is getattr(FieldVerbs, verb)


def test_findings_have_one_list_of_kinds():
    assert len(set(KINDS)) == len(KINDS)


def public(owner):
    classes = [each for each in owner.__mro__ if each is not object]
    return {name for each in classes for name in vars(each) if not name.startswith("_")}


def test_nothing_of_the_plumbing_shows():
    verbs = {*VERBS, "field", "name", "embed_query"}
    assert public(EnergyTable) == verbs | {
        *("table", "vector_column", "last_build", "search"),
        *("add", "merge_insert", "update", "delete", "optimize"),
        *("checkout", "checkout_latest", "restore"),
    }
    assert public(EnergyCollection) == verbs | {
        *("collection", "query", "get", "peek", "count"),
        *("add", "upsert", "update", "delete", "modify", "reembed"),
    }
