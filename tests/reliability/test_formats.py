"""Stores of earlier releases are read, those of later ones are refused with what to do.

`docs/formats.md` is the policy. `tests/golden` holds stores of each format version, written by
`tests/golden/make.py`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.energy.codec import packing
from energy_plugin.errors import EnergyPluginError
from energy_plugin.forgetting import Schedule
from energy_plugin.optical import DeepEncoderConfig
from energy_plugin.optical.weights import checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.glob("v[0-9]*"))

_spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def numbers(text):
    return [int(part) for part in text.split(".")[:3] if part.isdigit()]


def opened(folder, host, tmp_path):
    """A copy of a store, where the libraries at hand are not older than those that wrote it."""
    writer = json.loads((GOLDEN / folder / "writer.json").read_text("utf-8"))
    for library in {"lancedb": ("lancedb", "pylance"), "chroma": ("chromadb",)}[host]:
        pytest.importorskip({"pylance": "lance"}.get(library, library))
        if numbers(version(library)) < numbers(writer[library]):
            pytest.skip(f"{library} {version(library)} is older than {writer[library]}")
    return shutil.copytree(GOLDEN / folder / host, tmp_path / host)


def assert_answers(folder, name, got):
    wanted = json.loads((GOLDEN / folder / "answers.json").read_text("utf-8"))[name]
    np.testing.assert_allclose(got["distances"], wanted["distances"], atol=1e-4)
    for ids, others, near in zip(got["ids"], wanted["ids"], wanted["distances"], strict=True):
        place = dict(zip(others, near, strict=True))  # but for ties, also at the end of the list
        np.testing.assert_allclose([place.get(n, near[-1]) for n in ids], near, atol=2e-4)
        assert ids[:3] == others[:3]


def test_golden_stores_are_small():
    assert VERSIONS
    for name in VERSIONS:
        files = [path for path in (GOLDEN / name).rglob("*") if path.is_file()]
        assert 50_000 < sum(path.stat().st_size for path in files) < 1_000_000


@pytest.mark.parametrize("folder", VERSIONS)
def test_field_and_columns(folder):
    blob = (GOLDEN / folder / "core/field.bin").read_bytes()
    field = EnergyField.from_bytes(blob)
    assert (field.dim, field.n_fitted) == (make.DIM, make.ROWS)
    arrays, metadata = packing.loads((GOLDEN / folder / "core/columns.bin").read_bytes())
    assert metadata["field"] == field.fingerprint
    columns = EnergyColumns(*(arrays[name] for name in make.NAMES), metadata["field"])
    found = EnergyIndex.from_columns(field, columns, device="cpu").search(arrays["queries"], 10)
    assert np.array_equal(found.ids, arrays["ids"])
    np.testing.assert_allclose(found.distances, arrays["distances"], atol=1e-4)
    if folder == VERSIONS[-1]:
        assert field.to_bytes() == blob


@pytest.mark.parametrize("name", ["pages", "notes"])
@pytest.mark.parametrize("folder", VERSIONS)
def test_lancedb_store(folder, name, tmp_path):
    place = opened(folder, "lancedb", tmp_path)
    import lancedb
    from energy_lancedb import EnergyTable

    rows, queries = make.vectors()
    table = lancedb.connect(place).open_table(name)
    energy = EnergyTable(table)
    assert energy.verify() == []
    assert energy.info().rows == make.ROWS
    assert_answers(folder, name, make.lancedb_answers(energy, queries))
    assert table.search().select(["id"]).limit(None).to_arrow()["id"].to_pylist() == make.ids()
    # and it is written to
    table.add([{"id": "new", "seen": make.NOW, "vector": -rows[0]}])
    assert len(energy.refresh()) == 1
    assert energy.search(-rows[0]).limit(1).to_list()[0]["id"] == "new"
    energy.refit()
    assert energy.verify() == []


@pytest.mark.parametrize("folder", VERSIONS)
def test_chroma_store(folder, tmp_path):
    place = opened(folder, "chroma", tmp_path)
    import chromadb
    from energy_chroma import EnergyCollection

    rows, queries = make.vectors()
    energy = EnergyCollection(chromadb.PersistentClient(str(place)).get_collection("docs"))
    assert energy.verify() == []
    assert energy.info().rows == make.ROWS
    assert_answers(folder, "docs", make.chroma_answers(energy, queries))
    assert sorted(energy.get(include=[])["ids"]) == sorted(make.ids())
    energy.upsert(ids=["new"], embeddings=[-rows[0]], documents=["it's new"])
    assert energy.query(query_embeddings=[-rows[0]], n_results=1)["ids"] == [["new"]]
    energy.refit()
    assert energy.verify() == []


# -- a reader older than the format


def _field(number):
    index = EnergyIndex.fit(make.vectors()[0], make.config(), device="cpu")
    arrays, metadata = packing.loads(index.field.to_bytes())
    EnergyField.from_bytes(packing.dumps(arrays, {**metadata, "format_version": str(number)}))


def _container(number):
    blob = packing.dumps({"a": np.zeros(3)}, {})
    packing.loads(blob[:7] + str(number).encode() + blob[8:])


def _chunk(number):
    rows = pytest.importorskip("energy_chroma.chunks")
    index = EnergyIndex.fit(make.vectors()[0], make.config(), device="cpu")
    blob = rows.pack(make.ids(), index.columns, np.zeros(make.ROWS, np.uint32))
    arrays, metadata = packing.loads(blob)
    rows.unpack(packing.dumps(arrays, {**metadata, "format_version": str(number)}), make.DIM)


def _chroma_pointer(number):
    store = pytest.importorskip("energy_chroma.store")
    pointer = store.Pointer("of", 16, "null", True, 1, 1, 1, 1)
    store.pointer_in({**pointer.__dict__, "energy_format": number}, "energy-of")


def _lancedb_pointer(number):
    module = pytest.importorskip("energy_lancedb.pointer")
    pointer = module.Pointer(1, "columns", "vector", 16, 13, "t__energy", 1, "a" * 64, None, 60)
    values = {**json.loads(pointer.to_json()), "format_version": number}
    module.Pointer.from_json(json.dumps(values))


def _lancedb_function(number):
    module = pytest.importorskip("energy_lancedb")
    module.OpticalEmbeddingFunction.create(format_version=number).encoder()


def _chroma_function(number):
    module = pytest.importorskip("energy_chroma")
    config = module.OpticalEmbeddingFunction().get_config()
    module.OpticalEmbeddingFunction.build_from_config({**config, "format_version": number})


def _weights(number):
    values = {**DeepEncoderConfig().to_dict(), "format_version": number}
    DeepEncoderConfig.from_dict(values)


def _energy_config(number):
    EnergyConfig.from_dict({**EnergyConfig().to_dict(), "format_version": number})


def _schedule(number):
    Schedule.from_dict({**Schedule().to_dict(), "format_version": number})


@pytest.mark.parametrize(
    ("read", "newest"),
    [
        *((_field, 2), (_container, 1), (_chunk, 1), (_chroma_pointer, 1), (_lancedb_pointer, 1)),
        *((_lancedb_function, 1), (_chroma_function, 1), (_weights, 2), (_energy_config, 2)),
        (_schedule, 1),
    ],
)
def test_a_later_version_is_refused_by_name(read, newest):
    for known in range(1, newest + 1):
        read(known)
    later = rf"(?is){newest + 1}.*(reads|expected).*{newest}.*upgrade"
    with pytest.raises(EnergyPluginError, match=later):
        read(newest + 1)


def test_weights_of_another_typesetter(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(checkpoint.locate("compact"), framework="numpy") as file:
        metadata = {**file.metadata(), "typesetter_version": "99"}
    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, metadata=metadata)
    with pytest.raises(EnergyPluginError, match=r"version 99.*train again"):
        checkpoint.load(path)
