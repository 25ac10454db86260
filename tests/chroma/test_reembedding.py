"""Another embedding function: refused in place, and reached by a copy that takes the name."""

import json

import numpy as np
import pytest
from chromadb.errors import NotFoundError
from energy_chroma import (
    Changes,
    EnergyCollection,
    OpticalEmbeddingFunction,
    recover,
    reembedding,
)
from energy_chroma.reembedding import CopyMoment
from support.chroma_cases import GramEmbedding, client, texts
from support.moments import Crash, dying, once

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import ForeignFieldError, InvalidInputError
from energy_plugin.stored.moments import Moment

DOCUMENTS = texts(60)
IDS = [f"t{i}" for i in range(60)]


@pytest.fixture
def where(tmp_path):
    return client(tmp_path)


@pytest.fixture
def made(where):
    made = where.create_collection(
        "texts",
        embedding_function=GramEmbedding(),
        metadata={"owner": "someone"},
        configuration={"hnsw": {"space": "cosine", "ef_search": 77}},
    )
    made.add(
        ids=IDS, documents=DOCUMENTS, metadatas=[{"n": i} if i % 2 else None for i in range(60)]
    )
    return made


def names(where):
    return sorted(one.name for one in where.list_collections())


def contents(made):
    got = made.get(include=["documents", "metadatas"])
    bare = [{k: v for k, v in (m or {}).items() if k == "n"} for m in got["metadatas"]]
    return sorted(zip(got["ids"], got["documents"], map(str, bare), strict=True))


def embedder(made):
    return json.dumps(made.configuration_json["embedding_function"]["config"])


def assert_swapped(where, before, built):
    """The collection has the new function's vectors under the old name, and all else as it was."""
    made = where.get_collection("texts")
    assert names(where) == (sorted([f"energy-{made.id}", "texts"]) if built else ["texts"])
    assert contents(made) == before
    assert made.metadata == {"owner": "someone"}
    assert made.configuration_json["hnsw"]["ef_search"] == 77
    assert embedder(made) == '{"size": 2}'
    got = made.get(ids=IDS[:9], include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(got, GramEmbedding(2)(DOCUMENTS[:9]), atol=1e-6)
    if built:
        energy = EnergyCollection(made)
        found = energy.query(query_texts=DOCUMENTS[:3], n_results=1)
        assert [line[0] for line in found["documents"]] == DOCUMENTS[:3]
        assert energy.verify() == []


@pytest.mark.parametrize("built", [True, False])
def test_it_takes_the_place_of_the_collection(where, made, built):
    before, energy = contents(made), EnergyCollection(made)
    if built:
        energy.build(EnergyConfig(bits=8), row_columns=False)
    assert energy.reembed(GramEmbedding(2)) is energy
    assert_swapped(where, before, built)
    assert energy.collection.id != made.id
    assert energy.name == "texts"
    if built:
        assert (energy.info().bits, ("metadata" in energy.info().layout)) == (8, False)
        energy.add(ids=["new"], documents=["zebra crossing quietly"])
        assert energy.query(query_texts=["zebra crossing quietly"])["ids"][0][0] == "new"
    with pytest.raises(NotFoundError):
        made.count()


def test_rows_written_meanwhile_come_along(where, made):
    energy = EnergyCollection(made).build()

    def write():
        made.add(ids=["late"], documents=["zebra crossing"])
        made.delete(ids=["t0"])
        made.update(ids=["t1"], documents=["giraffe giraffe"], metadatas=[{"n": None, "m": 1}])

    with once(CopyMoment.WHOLE, write):
        energy.reembed(GramEmbedding(2))
    fresh = EnergyCollection(where.get_collection("texts"))
    assert fresh.refresh() == Changes()
    assert fresh.count() == 60
    assert fresh.query(query_texts=["zebra crossing"], n_results=1)["ids"] == [["late"]]
    found = fresh.query(query_texts=["giraffe giraffe"], n_results=1)
    assert found["ids"] == [["t1"]]
    assert set(found["metadatas"][0][0]) == {
        "m",
        "energy_lambda",
        "energy_dispersion",
        "energy_cell",
    }


def test_a_crash_at_any_moment_loses_nothing(where, made):
    EnergyCollection(made).build()
    before = contents(made)
    moments = list(CopyMoment)
    moments.insert(moments.index(CopyMoment.WHOLE), Moment.FITTING)
    states = []
    for moment in moments:
        with dying(moment), pytest.raises(Crash):
            EnergyCollection(where.get_collection("texts")).reembed(GramEmbedding(2))
        states.append([name for name in names(where) if name.startswith("texts")])
        recover(where)
        assert contents(where.get_collection("texts")) == before
        if embedder(where.get_collection("texts")) == '{"size": 2}':
            assert_swapped(where, before, built=True)
            # and back, for the next step
            EnergyCollection(where.get_collection("texts")).reembed(GramEmbedding(3))
    assert states == [
        ["texts"],
        ["texts", "texts.energy-new"],
        ["texts", "texts.energy-new"],
        ["texts", "texts.energy-new"],
        ["texts.energy-new", "texts.energy-old"],
        ["texts", "texts.energy-old"],
        ["texts", "texts.energy-old"],
    ]
    EnergyCollection(where.get_collection("texts")).reembed(GramEmbedding(2))
    assert_swapped(where, before, built=True)
    assert recover(where) == []


def test_a_copy_goes_on_where_it_was(where, made, monkeypatch):
    monkeypatch.setattr(reembedding, "STEP", 20)
    embedded = []

    class Counting(GramEmbedding):
        def __call__(self, input):
            embedded.extend(input)
            if len(embedded) == 40 and not died:
                died.append(True)
                raise Crash
            return super().__call__(input)

        @staticmethod
        def build_from_config(config):
            return Counting(**config)

    died = []
    with pytest.raises(Crash):
        EnergyCollection(made).reembed(Counting(2))
    # another function begins afresh, the same goes on with the 40 rows that are left
    embedded.clear()
    EnergyCollection(made).reembed(Counting(2))
    assert embedded == DOCUMENTS[20:]
    assert_swapped(where, contents(where.get_collection("texts")), built=False)


def test_a_copy_begun_with_another_function_is_not_used(where, made):
    half = where.create_collection("texts.energy-new", embedding_function=GramEmbedding(4))
    half.add(ids=["t0"], documents=DOCUMENTS[:1])
    before = contents(made)
    EnergyCollection(made).reembed(GramEmbedding(2))
    assert_swapped(where, before, built=False)


def test_rows_without_anything_to_embed_are_refused(where, made):
    made.add(ids=["bare"], embeddings=GramEmbedding()(["bare"]))
    with pytest.raises(InvalidInputError, match="1 rows of 'texts', such as 'bare'"):
        EnergyCollection(made).reembed(GramEmbedding(2))
    assert names(where) == ["texts"]
    with pytest.raises(InvalidInputError, match="not an embedding function that Chroma can store"):
        EnergyCollection(made).reembed(lambda input: input)


def test_a_name_taken_between_the_renames_is_not_overwritten(where, made):
    with dying(CopyMoment.NAMELESS), pytest.raises(Crash):
        EnergyCollection(made).reembed(GramEmbedding(2))
    where.create_collection("texts", embedding_function=None)
    with pytest.raises(InvalidInputError, match="was made while"):
        recover(where)
    where.delete_collection("texts")
    assert recover(where) == ["texts"]
    assert where.get_collection("texts").count() == 60


# -- a change in place


def optical(**changes):
    return OpticalEmbeddingFunction.build_from_config(
        {**OpticalEmbeddingFunction().get_config(), **changes}
    )


@pytest.mark.parametrize(
    "changes", [{"fingerprint": "0123456789abcdef"}, {"truncate_dim": 64}, {"model": "other"}]
)
@pytest.mark.parametrize("built", [True, False])
def test_another_model_or_typesetter_is_refused_before_chroma_stores_it(where, changes, built):
    made = where.create_collection("pages", embedding_function=OpticalEmbeddingFunction())
    made.add(ids=IDS[:20], documents=DOCUMENTS[:20])
    energy = EnergyCollection(made)
    if built:
        energy.build()
    before = where.get_collection("pages").configuration_json
    for modify in (energy.modify, made.modify, where.get_collection("pages").modify):
        with pytest.raises(ForeignFieldError, match=r"reembed\(embedding_function\)"):
            modify(configuration={"embedding_function": optical(**changes)})
    assert where.get_collection("pages").configuration_json == before
    # what does not change vectors may change
    energy.modify(configuration={"embedding_function": optical(batch_size=7)})
    stored = where.get_collection("pages").configuration_json
    assert stored["embedding_function"]["config"]["batch_size"] == 7
    where.get_collection("pages").modify(configuration={"embedding_function": optical()})
    stored = where.get_collection("pages").configuration_json
    assert stored == before
    assert energy.collection.query(query_texts=[DOCUMENTS[3]], n_results=1)["ids"] == [["t3"]]


def test_what_chroma_stored_past_the_plugin_is_refused_and_can_be_put_back(where):
    made = where.create_collection("pages", embedding_function=OpticalEmbeddingFunction())
    made.add(ids=IDS[:20], documents=DOCUMENTS[:20])
    EnergyCollection(made).build()
    # as a client without the plugin, or one of another language, would
    change = {"embedding_function": optical(truncate_dim=64)}
    made._client._modify(
        id=made.id, new_configuration=change, tenant=made.tenant, database=made.database
    )
    again = EnergyCollection(where.get_collection("pages"))
    with pytest.raises(ForeignFieldError, match=r"built on vectors of energy_optical"):
        again.query(query_texts=DOCUMENTS[:1])
    with pytest.raises(ForeignFieldError):
        again.add(ids=["new"], documents=["text"])
    again.modify(configuration={"embedding_function": OpticalEmbeddingFunction()})
    fresh = EnergyCollection(where.get_collection("pages"))
    for energy in (again, fresh):
        assert energy.query(query_texts=DOCUMENTS[3:4], n_results=1)["ids"] == [["t3"]]


def test_the_optical_function_does_not_take_over_vectors_of_another(where, made):
    before = where.get_collection(made.name).configuration_json
    with pytest.raises(ForeignFieldError, match="not by 'energy_optical'"):
        made.modify(configuration={"embedding_function": OpticalEmbeddingFunction()})
    assert where.get_collection(made.name).configuration_json == before


def test_modify_renames_and_replaces_metadata_as_chroma_does(where, made):
    energy = EnergyCollection(made).build()
    energy.modify(name="renamed", metadata={"a": 1})
    assert (energy.name, made.metadata) == ("renamed", {"a": 1})
    assert where.get_collection("renamed").metadata == {"a": 1}
    assert EnergyCollection(where.get_collection("renamed")).verify() == []
    # a list there ends in a panic of Chroma's library, which no `except Exception` catches
    with pytest.raises(InvalidInputError, match="str, int, float or bool"):
        energy.modify(metadata={"a": [1, 2]})
    energy.modify(configuration={"hnsw": {"ef_search": 50}})
    assert where.get_collection("renamed").configuration_json["hnsw"]["ef_search"] == 50
