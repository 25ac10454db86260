"""Bytes that promise much: sizes are checked before memory or time is taken by them."""

from __future__ import annotations

import io
import json
import lzma
import time
import tracemalloc
import zipfile
import zlib

import chromadb
import numpy as np
import pytest
from energy_chroma import EnergyCollection, chunks
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.energy.codec import packing
from energy_plugin.errors import CheckpointError, CorruptFieldError, InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.vectors import load_vectors
from energy_plugin.optical import DeepEncoderConfig
from energy_plugin.optical.typesetting import font
from energy_plugin.optical.weights import published
from energy_plugin.optical.weights.files import is_plain

DIM, MOST = 8, 600 << 20  # bytes that a refusal may take; two of the bombs may inflate to 256 MiB
SECONDS = 20  # of CPU time


@pytest.fixture(autouse=True)
def modest():
    """Python's and numpy's memory of each test, and its CPU time."""
    tracemalloc.start()
    started = time.process_time()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST
    assert time.process_time() - started < SECONDS


@pytest.fixture(scope="module")
def index():
    return EnergyIndex.fit(clustered(40, DIM)[0], EnergyConfig(n_anchors=4), device="cpu")


def repacked(blob, **changes):
    arrays, metadata = packing.loads(blob)
    return packing.dumps({**arrays, **changes}, metadata)


def test_a_field_of_many_anchors(index):
    """200,000 anchors in one dimension: 3 MB of bytes, 160 GB of graph."""
    m = 200_000
    blob = repacked(
        index.field.to_bytes(),
        centre=np.zeros(1, np.float32),
        metric=np.ones((1, 1), np.float16),
        anchors=np.zeros((m, 1), np.float16),
        laplacian_data=np.zeros(0, np.float32),
        laplacian_indices=np.zeros(0, np.int32),
        laplacian_indptr=np.zeros(m + 1, np.int32),
    )
    with pytest.raises(CorruptFieldError, match="200000 anchors"):
        EnergyField.from_bytes(blob)
    with pytest.raises(InvalidInputError, match="n_anchors"):
        EnergyConfig(n_anchors=m)


def test_ids_that_inflate(index):
    """Less than 2 MB that become 320 MB."""
    bomb = zlib.compressobj(1)
    parts = [bomb.compress(b" " * (1 << 24)) for _ in range(20)]
    packed = np.frombuffer(b"".join([*parts, bomb.flush()]), np.uint8)
    blob = chunks.pack([f"r{i}" for i in range(40)], index.columns, np.zeros(40, np.uint32))
    with pytest.raises(CorruptFieldError, match="take more than"):
        chunks.unpack(repacked(blob, ids=packed), DIM)


def test_codes_of_a_promised_width(index):
    """200,000 rows without bytes, of 65,535 bytes each."""
    n = 200_000
    blob = chunks.pack([], index.columns.take(slice(0, 0)), np.zeros(0, np.uint32))
    changed = repacked(
        blob,
        ids=np.frombuffer(zlib.compress(json.dumps([""] * n).encode()), np.uint8),
        cell=np.zeros(n, np.int32),
        fingerprint=np.zeros(n, np.uint32),
        dispersion=np.zeros(n, np.float32),
        residual=np.zeros(0, np.uint8),
        length=np.zeros(n, np.uint16),
        width=np.array([65_535]),
        **{"lambda": np.zeros(n, np.float32)},
    )
    with pytest.raises(CorruptFieldError, match="65535 bytes"):
        chunks.unpack(changed, DIM)


@pytest.mark.parametrize("parts", [10**12, -1, 0, True, "3"])
def test_a_record_of_many_parts(tmp_path, parts):
    made = chromadb.PersistentClient(str(tmp_path)).create_collection(
        "docs", embedding_function=None
    )
    made.add(ids=[f"r{i}" for i in range(40)], embeddings=clustered(40, DIM)[0])
    energy = EnergyCollection(made).build()
    companion = energy._keeper.host.companion()
    record = companion.get(ids=["1/field/0"], include=["metadatas"])["metadatas"][0]
    companion.update(ids=["1/field/0"], metadatas=[{**record, "parts": parts}])
    with pytest.raises(CorruptFieldError, match="parts"):
        EnergyCollection(made).query(query_embeddings=[clustered(40, DIM)[0][0]])
    EnergyCollection(made).build()
    assert EnergyCollection(made).verify() == []


def test_a_font_that_inflates():
    packer = lzma.LZMACompressor(preset=0)
    parts = [packer.compress(b" " * (1 << 24)) for _ in range(3)]
    with pytest.raises(CheckpointError, match="longer than"):
        font.read_glyphs(b"".join([*parts, packer.flush()]))


def test_an_altered_font_is_refused(monkeypatch):
    monkeypatch.setattr(font, "FONT_SHA256", "0" * 64)
    font._glyphs.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="SHA-256"):
            font._glyphs()
    finally:
        font._glyphs.cache_clear()


def test_an_archive_of_a_promised_shape(tmp_path):
    """An array that names 3 TB in a file of 200 bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**31, 384)}
    )
    path = tmp_path / "vectors.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("corpus", "queries", "corpus_ids", "query_ids"):
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(InvalidInputError, match="names 3298534883328 bytes"):
        load_vectors(path, JudgedCollection("x", {"a": ""}, {"q": ""}, {"q": {"a": 1}}))


@pytest.mark.parametrize(
    "changes",
    [
        *({"local_depth": 10**9}, {"width": 10**9, "heads": 1}, {"line_hidden": [10**12]}),
        *({"line_hidden": [8] * 10**5}, {"page_tiles": 10**12}, {"heads": 0}, {"width": "wide"}),
        *({"glossary": 10**9}, {"registers": -1}, {"line_hidden": []}),
    ],
)
def test_an_encoder_of_a_promised_size(changes):
    with pytest.raises(InvalidInputError, match="of an encoder"):
        DeepEncoderConfig.from_dict({**DeepEncoderConfig().to_dict(), **changes})


@pytest.mark.parametrize(
    "key", ["sam_model.blocks.999999999.norm1.weight", "vision_model.transformer.layers.99999999.x"]
)
def test_weights_of_many_blocks(key):
    with pytest.raises(CheckpointError, match="more than their 1 tensors"):
        published.check_shapes({key: (64,)}, "a file")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        *(("model-00001-of-000002.safetensors", True), ("a" * 40, True), ("../x", False)),
        *(("/etc/passwd", False), ("..", False), (".", False), ("a\\b", False), ("", False)),
        *((None, False), (3, False), ("a\n", False), ("C:x", False)),
    ],
)
def test_names_of_files_stay_in_their_folder(name, plain):
    assert is_plain(name) is plain
