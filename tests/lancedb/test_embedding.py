"""The optical embedding function as LanceDB stores, rebuilds and calls it.

The encoder is the real one with small random weights: what its vectors mean is not the subject.
"""

import json
import os
import subprocess
import sys
import textwrap

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable, OpticalEmbeddingFunction, optical
from lancedb.embeddings import EmbeddingFunctionConfig, get_registry
from support.lancedb_data import rows_of, text_of, text_schema

from energy_plugin.errors import ForeignFieldError, InvalidInputError
from energy_plugin.optical import TYPESETTER_VERSION, load_encoder

N = 60


def write_encoder(path, seed):
    import torch

    from energy_plugin.optical import DeepEncoderConfig
    from energy_plugin.optical.network.deepencoder import DeepEncoder
    from energy_plugin.optical.weights import checkpoint

    torch.manual_seed(seed)
    config = DeepEncoderConfig(
        **{"patch_dim": 16, "line_hidden": (32,), "glossary": 40, "width": 32, "heads": 2},
        **{"mlp": 32, "local_depth": 1, "global_depth": 1},
    )
    checkpoint.save(DeepEncoder(config), path)
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "small.safetensors", seed=1)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return lancedb.connect(tmp_path_factory.mktemp("optical"))


@pytest.fixture(scope="module")
def table(database, model):
    table = database.create_table("pages", schema=text_schema(optical(model)))
    table.add(rows_of(N))
    return table


def test_every_argument_is_stored(table, model):
    encoder = load_encoder(model)
    (stored,) = json.loads(table.schema.metadata[b"embedding_functions"])
    assert stored == {
        "name": "energy-optical",
        "source_column": "text",
        "vector_column": "vector",
        "model": {
            "model": model,
            "dim": 32,
            "fingerprint": encoder.fingerprint,
            "typesetter": TYPESETTER_VERSION,
            "format_version": 1,
            "batch_size": 64,
            "device": None,
            "max_retries": 0,
            "recogniser": encoder.recogniser,
            "paths": False,
        },
    }
    assert set(stored["model"]) == set(OpticalEmbeddingFunction.model_fields)


def test_the_registry_stores_the_same(model):
    function = get_registry().get("energy-optical").create(model=model)
    assert function.safe_model_dump() == optical(model).safe_model_dump()
    assert function.ndims() == 32
    assert function.max_retries == 0


def test_vectors_are_the_encoders(table, model):
    encoder = load_encoder(model)
    rows = table.search().select(["id", "text", "vector"]).to_list()
    got = np.array([row["vector"] for row in rows], dtype=np.float32)
    np.testing.assert_allclose(got, encoder.encode_document([r["text"] for r in rows]), atol=1e-6)
    function = optical(model)
    np.testing.assert_allclose(
        function.compute_query_embeddings("one query"),
        [encoder.encode_query("one query")],
        atol=1e-6,
    )
    assert function.compute_source_embeddings([]) == []
    assert [v.shape for v in function.compute_source_embeddings(pa.array(["a", "b"]))] == [
        (32,),
        (32,),
    ]


def test_rebuilding_loads_no_model(table, monkeypatch):
    monkeypatch.setattr("energy_lancedb.embedding._encoder", None)
    function = table.embedding_functions["vector"].function
    assert function.ndims() == 32


def test_search_by_text_and_by_page_image(table, model):
    energy = EnergyTable(table).build()
    rows = energy.search(text_of(7)).limit(1).to_list()
    assert rows[0]["id"] == 7
    from PIL import Image

    tiles = load_encoder(model).typesetter.tiles(text_of(7))
    page = Image.fromarray(np.concatenate(list(tiles), axis=1))
    by_image = energy.search(page).limit(1).to_list()
    assert by_image[0]["id"] == 7
    assert by_image[0]["_distance"] == pytest.approx(rows[0]["_distance"], abs=1e-3)
    both = energy.search([page, page]).limit(1).to_list()
    assert [(row["query_index"], row["id"]) for row in both] == [(0, 7), (1, 7)]


def test_page_images_as_documents(tmp_path, model):
    import io

    from lancedb.pydantic import LanceModel, Vector
    from PIL import Image

    function = optical(model)

    class Scan(LanceModel):
        id: int
        page: bytes = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    def png(i):
        tiles = load_encoder(model).typesetter.tiles(text_of(i))
        file = io.BytesIO()
        Image.fromarray(np.concatenate(list(tiles), axis=1)).save(file, "PNG")
        return file.getvalue()

    table = lancedb.connect(tmp_path).create_table("scans", schema=Scan)
    table.add([{"id": i, "page": png(i)} for i in range(30)])
    energy = EnergyTable(table).build()
    assert energy.search(text_of(7)).limit(1).to_list()[0]["id"] == 7
    assert energy.search(Image.open(io.BytesIO(png(9)))).limit(1).to_list()[0]["id"] == 9
    with pytest.raises(InvalidInputError, match="not an image that Pillow reads"):
        energy.add([{"id": 99, "page": b"not an image"}])
    assert table.count_rows() == 30


def test_scans_are_named_by_path(tmp_path):
    from lancedb.pydantic import LanceModel, Vector
    from PIL import Image, ImageDraw, ImageFont

    files = []
    for name in ("pressure over a swept wing", "bread is baked in a hot oven"):
        page = Image.new("L", (900, 200), 255)
        ImageDraw.Draw(page).text((40, 60), name, font=ImageFont.load_default(26), fill=0)
        files.append(tmp_path / f"{name}.png")
        page.save(files[-1])
    function = optical("compact", paths=True)

    class Scan(LanceModel):
        file: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(tmp_path / "db").create_table("scans", schema=Scan)
    table.add([{"file": str(files[0])}, {"file": files[1].as_uri()}])
    table = lancedb.connect(tmp_path / "db").open_table("scans")
    found = table.search("a loaf of bread").limit(1).to_list()
    assert found[0]["file"] == files[1].as_uri()
    assert table.search(files[0]).limit(1).to_list()[0]["file"] == str(files[0])
    with pytest.raises(Exception, match="cannot be read as an image"):
        table.add([{"file": str(tmp_path / "missing.png")}])
    assert table.count_rows() == 2
    stored = table.embedding_functions["vector"].function
    stored = type(stored).create(**{**stored.safe_model_dump(), "recogniser": "0123456789abcdef"})
    assert len(stored.compute_query_embeddings("a loaf")) == 1
    with pytest.raises(
        ForeignFieldError, match="read by a recogniser of print with fingerprint 01"
    ):
        stored.compute_source_embeddings([str(files[0])])


def test_a_field_survives_settings_that_change_no_vector(database, model, table):
    EnergyTable(table).build()
    (stored,) = json.loads(table.schema.metadata[b"embedding_functions"])
    stored["model"]["batch_size"] = 8
    table.to_lance().update_schema_metadata({"embedding_functions": json.dumps([stored])})
    energy = EnergyTable(database.open_table("pages"))
    assert energy.search(text_of(7)).limit(1).to_list()[0]["id"] == 7


def test_other_weights_are_refused(database, tmp_path):
    path = tmp_path / "changing.safetensors"
    model = write_encoder(path, seed=2)
    stored = optical(model).safe_model_dump()
    write_encoder(path, seed=3)
    from energy_plugin.optical import encoder

    encoder._loaded.clear()
    function = get_registry().get("energy-optical").create(**stored)
    config = EmbeddingFunctionConfig(
        source_column="text", vector_column="vector", function=function
    )
    schema = pa.schema([("text", pa.string()), ("vector", pa.list_(pa.float32(), 32))])
    table = database.create_table("others", schema=schema, embedding_functions=[config])
    with pytest.raises(ForeignFieldError, match=f"expected {stored['fingerprint']}"):
        table.search("a query")
    with pytest.raises(Exception, match="by other weights"):
        table.add([{"text": "a text"}])
    assert table.count_rows() == 0


def test_an_empty_text_is_named(model):
    with pytest.raises(InvalidInputError, match=r"texts\[1\]"):
        optical(model).compute_source_embeddings(["a", " "])


@pytest.mark.parametrize("text", ["", "  ", None])
@pytest.mark.parametrize("built", [False, True])
def test_a_row_without_text_adds_nothing(model, tmp_path, text, built):
    table = lancedb.connect(tmp_path).create_table("pages", schema=text_schema(optical(model)))
    table.add(rows_of(3))
    energy = EnergyTable(table)
    if built:
        energy.build()
    rows = pa.Table.from_pylist([rows_of(1, start=3)[0], {**rows_of(1, start=4)[0], "text": text}])
    with pytest.raises(InvalidInputError, match=r"texts\[1\]"):
        energy.add(rows)
    with pytest.raises(RuntimeError, match=r"InvalidInputError: texts\[1\]"):
        table.add(rows)
    assert table.count_rows() == 3
    with pytest.raises(ValueError, match="nope") as caught:
        energy.add([{"nope": 1}])  # LanceDB's own errors stay what they are
    assert not isinstance(caught.value, InvalidInputError)


def test_another_process_imports_only_the_adapter(table, database):
    energy = EnergyTable(table).build()
    mine = energy.search(text_of(9)).select(["id"]).limit(5).to_list()
    script = f"""
        import json, lancedb, energy_lancedb
        table = lancedb.connect({database.uri!r}).open_table("pages")
        energy = energy_lancedb.EnergyTable(table)
        found = energy.search({text_of(9)!r}).select(["id"]).limit(5).to_list()
        energy.add([{{"id": 900, "text": "a new page", "year": 2026, "topic": "none"}}])
        new = energy.search("a new page").select(["id"]).limit(1).to_list()
        table.delete("id = 900")
        print(json.dumps([found, new]))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
        timeout=300,
    )
    found, new = json.loads(run.stdout.splitlines()[-1])
    assert [row["id"] for row in found] == [row["id"] for row in mine]
    assert new[0]["id"] == 900
