"""The optical embedding function: stored by Chroma, restored by a new process."""

import json
import subprocess
import sys
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.utils.data_loaders import ImageLoader
from chromadb.utils.embedding_functions import known_embedding_functions
from energy_chroma import EnergyCollection, OpticalEmbeddingFunction
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import save_file
from support.chroma_cases import client, texts

from energy_plugin.errors import CheckpointError, ForeignFieldError, InvalidInputError
from energy_plugin.optical import DeepEncoderConfig, OpticalEncoder, encoder, load_encoder

DOCUMENTS = texts(12)


@pytest.fixture
def made(tmp_path):
    made = client(tmp_path).create_collection(
        "pages", embedding_function=OpticalEmbeddingFunction()
    )
    made.add(ids=[f"d{i}" for i in range(12)], documents=DOCUMENTS)
    return made


def test_vectors_are_the_encoders():
    function = OpticalEmbeddingFunction(batch_size=5)
    expected = load_encoder("compact").encode(DOCUMENTS)
    got = function(DOCUMENTS)
    assert all(isinstance(vector, np.ndarray) and vector.dtype == np.float32 for vector in got)
    np.testing.assert_allclose(np.stack(got), expected, atol=1e-5)
    np.testing.assert_allclose(np.stack(function.embed_query(DOCUMENTS)), expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_published_weights_are_an_embedding_function_too(tmp_path):
    """Narrow seeded weights with the published names; their head is looked at, not read."""
    from support.deepencoder_oracle import NARROW, published_file, seeded_weights

    weights = seeded_weights(NARROW)
    published_file(tmp_path, weights)
    function = OpticalEmbeddingFunction(str(tmp_path))
    made = client(tmp_path / "db").create_collection("pages", embedding_function=function)
    made.add(ids=["a", "b"], documents=DOCUMENTS[:2])
    assert made.query(query_texts=DOCUMENTS[1:2], n_results=1)["ids"] == [["b"]]
    stored = made.get(ids=["a"], include=["embeddings"])["embeddings"]
    expected = OpticalEncoder.from_pretrained(tmp_path).encode(DOCUMENTS[:1])
    np.testing.assert_allclose(stored, expected, atol=1e-4)
    del weights["projector.layers.bias"]
    (tmp_path / "lacking").mkdir()
    published_file(tmp_path / "lacking", weights)
    with pytest.raises(CheckpointError, match=r"projector\.layers\.bias"):
        OpticalEmbeddingFunction(str(tmp_path / "lacking"))


def test_truncated_vectors_are_the_leading_dimensions():
    got = OpticalEmbeddingFunction(truncate_dim=64)(DOCUMENTS[:2])
    expected = load_encoder("compact").encode(DOCUMENTS[:2])[:, :64]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.stack(got), expected, atol=1e-5)


def test_page_images_embed_as_their_text():
    typesetter = load_encoder("compact").typesetter
    pages = [typesetter.pages(text)[0].pixels for text in DOCUMENTS[:2]]
    for truncate_dim in (None, 64):
        function = OpticalEmbeddingFunction(truncate_dim=truncate_dim)
        np.testing.assert_allclose(
            np.stack(function(pages)), np.stack(function(DOCUMENTS[:2])), atol=1e-4
        )
    with pytest.raises(InvalidInputError, match="mixed"):
        OpticalEmbeddingFunction()([DOCUMENTS[0], pages[0]])


def _scan(text, **options):
    page = Image.new("L", (900, 200), 255)
    ImageDraw.Draw(page).text((40, 60), text, font=ImageFont.load_default(26), fill=0)
    return page


def test_scans_come_as_the_image_loader_hands_them_over(tmp_path):
    texts = ["pressure over a swept wing in supersonic flow", "bread is baked in a hot oven"]
    for name, text in zip(("wing.png", "bread.jpg"), texts, strict=True):
        _scan(text).convert("RGB").save(tmp_path / name, quality=90)
    files = [str(tmp_path / "wing.png"), str(tmp_path / "bread.jpg")]
    made = chromadb.PersistentClient(str(tmp_path / "db")).create_collection(
        "scans", embedding_function=OpticalEmbeddingFunction(), data_loader=ImageLoader()
    )
    made.add(ids=["wing", "bread"], uris=files)
    energy = EnergyCollection(made).build()
    assert energy.query(query_texts=["a loaf of bread"], n_results=1)["ids"] == [["bread"]]
    assert energy.query(query_uris=files, n_results=1)["ids"] == [["wing"], ["bread"]]
    pixels = np.asarray(_scan(texts[0]))
    for image in (pixels.astype(np.int64), pixels.astype(np.uint64), pixels / 255):
        assert made.query(query_images=[image], n_results=1)["ids"] == [["wing"]]
    with pytest.raises(InvalidInputError, match="expected shades from 0"):
        made.add(ids=["x"], images=[pixels.astype(np.int64) - 300])
    with pytest.raises(InvalidInputError, match="is blank or shows no text"):
        made.add(ids=["x"], images=[np.full((300, 300), 255, np.uint8)])
    assert made.count() == 2


def test_another_recogniser_is_refused_for_pages_alone():
    config = {**OpticalEmbeddingFunction().get_config(), "recogniser": "0123456789abcdef"}
    function = OpticalEmbeddingFunction.build_from_config(config)
    assert function.get_config() == config
    np.testing.assert_array_equal(function(DOCUMENTS[:1])[0].shape, (384,))
    with pytest.raises(
        ForeignFieldError, match="read by a recogniser of print with fingerprint 01"
    ):
        function([np.asarray(_scan("a swept wing"))])
    del config["recogniser"]  # as collections before it hold it
    older = OpticalEmbeddingFunction.build_from_config(config)
    assert older([np.asarray(_scan("a swept wing"))])[0].shape == (384,)
    with pytest.raises(ForeignFieldError, match="recogniser"):
        OpticalEmbeddingFunction.build_from_config({**config, "recogniser": 7})


def test_it_is_registered_and_prefers_cosine(made):
    assert known_embedding_functions["energy_optical"] is OpticalEmbeddingFunction
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    stored = made.configuration_json["embedding_function"]
    assert (stored["type"], stored["name"]) == ("known", "energy_optical")


def test_the_configuration_holds_the_provenance(made):
    config = made.configuration_json["embedding_function"]["config"]
    encoder = load_encoder("compact")
    assert config == {
        "format_version": 1,
        "model": "compact",
        "batch_size": 64,
        "truncate_dim": None,
        "fingerprint": encoder.fingerprint,
        "encoder": json.loads(json.dumps(encoder.config)),
        "recogniser": encoder.recogniser,
    }
    again = OpticalEmbeddingFunction.build_from_config(config)
    assert again.get_config() == config


def test_building_one_loads_nothing(monkeypatch):
    config = OpticalEmbeddingFunction().get_config()
    monkeypatch.setattr(encoder, "_loaded", {})
    OpticalEmbeddingFunction()
    OpticalEmbeddingFunction.build_from_config(config).get_config()
    assert encoder._loaded == {}


def test_one_model_serves_all_calls(made, monkeypatch):
    loads = []
    load = OpticalEncoder.from_pretrained
    monkeypatch.setattr(encoder, "_loaded", {})
    monkeypatch.setattr(
        OpticalEncoder,
        "from_pretrained",
        classmethod(lambda cls, *a, **k: loads.append(a) or load(*a, **k)),
    )
    energy = EnergyCollection(made).build()
    for text in DOCUMENTS[:3]:
        made.query(query_texts=[text], n_results=1)
        energy.query(query_texts=[text], n_results=1)
    made.upsert(ids=["d0"], documents=[DOCUMENTS[0]])
    assert len(loads) == 1


def test_another_encoder_is_refused(tmp_path):
    where = client(tmp_path)
    function = OpticalEmbeddingFunction(fingerprint="0123456789abcdef", encoder={"dim": 384})
    made = where.create_collection("pages", embedding_function=function)
    with pytest.raises(ForeignFieldError, match=r"fingerprint 0123456789abcdef.*has [0-9a-f]+"):
        made.add(ids=["a"], documents=["text"])
    assert made.count() == 0
    with pytest.raises(ForeignFieldError, match="embed its documents again"):
        where.get_collection("pages").query(query_texts=["text"])


def broken(path, kind):
    """A model that cannot be loaded; Chroma would silently store another function for it."""
    bundled = Path(encoder.__file__).parent / "assets" / "compact.safetensors"
    if kind == "missing":
        return "nope"
    if kind == "cut off":
        (path / "model.safetensors").write_bytes(bundled.read_bytes()[:-1])
    elif kind == "no safetensors":
        (path / "model.safetensors").write_bytes(b"weights")
    else:
        config = DeepEncoderConfig().to_dict()
        metadata = {} if kind == "no configuration" else {"config": json.dumps(config)}
        save_file({"w": np.zeros(2, np.float32)}, path / "model.safetensors", metadata)
    return str(path)


@pytest.mark.parametrize(
    "kind", ["missing", "cut off", "no safetensors", "no configuration", "no typesetter"]
)
def test_an_encoder_that_cannot_be_loaded_leaves_no_collection(tmp_path, kind):
    where = client(tmp_path / "store")
    with pytest.raises(CheckpointError, match=r"encoder|typesetter"):
        where.create_collection(
            "pages", embedding_function=OpticalEmbeddingFunction(broken(tmp_path, kind))
        )
    assert where.list_collections() == []


def test_a_device_that_is_not_there_leaves_no_collection(tmp_path):
    where = client(tmp_path)
    with pytest.raises(InvalidInputError, match="device 'abacus'"):
        where.create_collection(
            "pages", embedding_function=OpticalEmbeddingFunction(device="abacus")
        )
    assert where.list_collections() == []


@pytest.mark.parametrize("document", ["", "   \n", None, 7])
def test_what_is_no_text_is_refused_before_anything_is_written(made, document):
    with pytest.raises(ValueError, match=r"text|document"):
        made.add(ids=["x", "y"], documents=["fine", document])
    assert made.count() == 12
    energy = EnergyCollection(made).build()
    with pytest.raises(ValueError, match=r"text|document"):
        energy.add(ids=["x", "y"], documents=["fine", document])
    with pytest.raises(ValueError, match=r"text|document"):
        energy.query(query_texts=["fine", document])
    assert made.count() == 12
    assert energy.query(query_texts=DOCUMENTS[:1], n_results=50)["ids"][0][0] == "d0"


@pytest.mark.parametrize("setting", ["batch_size", "truncate_dim"])
@pytest.mark.parametrize("value", [0, -1, "4", 2.5, True])
def test_a_wrong_number_is_refused(setting, value):
    with pytest.raises(InvalidInputError, match=setting):
        OpticalEmbeddingFunction(**{setting: value})


def test_wrong_settings_are_refused():
    with pytest.raises(InvalidInputError, match="model"):
        OpticalEmbeddingFunction(None)
    with pytest.raises(InvalidInputError, match="empty"):
        OpticalEmbeddingFunction()([])
    with pytest.raises(ForeignFieldError, match="format version 9"):
        OpticalEmbeddingFunction.build_from_config({"format_version": 9})


def test_a_changed_model_is_vetoed():
    config = OpticalEmbeddingFunction().get_config()
    function = OpticalEmbeddingFunction.build_from_config(config)
    function.validate_config_update(config, {**config, "batch_size": 8})
    with pytest.raises(ForeignFieldError, match="truncate_dim"):
        function.validate_config_update(config, {**config, "truncate_dim": 64})


def test_without_chroma_the_install_line_is_given():
    program = "import sys; sys.modules['chromadb'] = None; import energy_chroma"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert '"chromadb>=' in done.stderr
    assert 'pip install "' in done.stderr


def test_a_new_process_embeds_queries_with_the_adapter_alone(made, tmp_path):
    energy = EnergyCollection(made).build()
    expected = energy.query(query_texts=[DOCUMENTS[7]], n_results=3)
    program = """
import json, sys
import chromadb
import energy_chroma

assert "torch" not in sys.modules
made = chromadb.PersistentClient(sys.argv[1]).get_collection("pages")
plain = made.query(query_texts=[sys.argv[2]], n_results=1)["ids"]
energy = energy_chroma.EnergyCollection(made)
print(json.dumps([plain, energy.query(query_texts=[sys.argv[2]], n_results=3)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), DOCUMENTS[7]],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    plain, found = json.loads(done.stdout)
    assert plain == [["d7"]]
    assert found["ids"] == expected["ids"]
    assert found["ids"][0][0] == "d7"
    np.testing.assert_allclose(found["distances"], expected["distances"], atol=1e-4)
