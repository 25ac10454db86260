"""Parsers of files: weights, the font, and what evaluation, training and `index` read."""

from __future__ import annotations

import gzip
import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from energy_plugin.evaluation.collection import load_collection
from energy_plugin.evaluation.sts import load_pairs
from energy_plugin.evaluation.vectors import load_vectors
from energy_plugin.library.files.reading import texts_of
from energy_plugin.optical.config import DeepEncoderConfig, FullConfig
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.schedule import TrainingConfig
from energy_plugin.optical.typesetting import font
from energy_plugin.optical.weights import checkpoint, hub, published
from energy_plugin.optical.weights import files as weights
from support.deepencoder_oracle import published_file, seeded_weights
from support.fuzzing.mutations import altered_arrays, damaged, damaged_json
from support.fuzzing.stores import Target


def files(folder: Path) -> Iterator[Target]:
    """All of them; what they read is written below `folder`."""
    yield from _weights(folder)
    yield from _judged(folder)
    yield from _texts(folder)


def _weights(folder: Path) -> Iterator[Target]:
    small = DeepEncoderConfig(
        **{"patch_dim": 8, "line_hidden": (8,), "width": 16, "heads": 2, "mlp": 16},
        **{"local_depth": 1, "global_depth": 1, "page_tiles": 4, "glossary": 24},
    )
    torch.manual_seed(0)
    path = folder / "compact.safetensors"
    checkpoint.save(CompactEncoder(small), path)
    compact = path.read_bytes()

    def with_head(data: bytes, rng: np.random.Generator) -> bytes:
        """Damage to the file, or to its head under a right length."""
        length = int.from_bytes(data[:8], "little")
        if rng.random() < 0.4:
            return damaged(data, rng)
        head = json.loads(data[8 : 8 + length])
        inner = head.get("__metadata__", {})
        if "config" in inner and rng.random() < 0.5:
            inner["config"] = damaged_json(inner["config"].encode(), rng).decode("utf-8", "replace")
            packed = json.dumps(head).encode()
        else:
            packed = damaged_json(json.dumps(head).encode(), rng)
        packed += b" " * (-len(packed) % 8)
        return len(packed).to_bytes(8, "little") + packed + data[8 + length :]

    def compact_file(data: bytes) -> None:
        path.write_bytes(data)
        model = checkpoint.load(path)
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())

    yield Target("compact weights", compact, lambda rng: with_head(compact, rng), compact_file)

    full = FullConfig(
        **{"sam_width": 64, "sam_mlp": 16, "sam_depth": 2, "sam_grid": 4, "window": 3},
        **{"global_blocks": (1,), "neck": 4, "compressor": (8, 64), "width": 64, "mlp": 16},
        **{"depth": 1, "grid": 2, "projector": 8},
    )
    tensors = {key: value.bfloat16() for key, value in seeded_weights(full).items()}
    other = published_file(folder, tensors)
    whole = other.read_bytes()

    def published_weights(data: bytes) -> None:
        other.write_bytes(data)
        published.encoder_of(weights.read(other))

    yield Target("published weights", whole, lambda rng: with_head(whole, rng), published_weights)

    length = int.from_bytes(whole[:8], "little")
    remote = hub._Remote("https://hub/file", len(whole), "a" * 40)

    def remote_head(packed: bytes) -> None:
        found = hub._placed(packed, remote)
        shapes = {published.vision_key(t.key) or "": tuple(t.head["shape"]) for t in found}
        published.check_shapes(shapes, "the hub")
        assert sum(t.stop - t.start for t in found) <= len(whole), "more than the file has"

    yield Target(
        "head on the hub",
        whole[8 : 8 + length],
        lambda rng: damaged_json(whole[8 : 8 + length], rng),
        remote_head,
    )
    place = folder / "sharded"
    place.mkdir()
    (place / "part.safetensors").write_bytes(whole)
    listing = json.dumps(
        {"weight_map": {f"model.{key}": "part.safetensors" for key in list(tensors)[:20]}}
    ).encode()

    def index(data: bytes) -> None:
        (place / weights.INDEX).write_bytes(data)
        for file in weights.files_of(place):
            assert file.parent == place, "a file outside of its folder"

    yield Target("index of shards", listing, lambda rng: damaged_json(listing, rng), index)
    lines = "\n".join(f"{code:04X}:{bits}" for code, bits in list(font._glyphs().items())[:80])
    lines += f"\nFFFD:{font._glyphs()[0xFFFD]}\n"
    packed = lzma.compress(lines.encode())

    def glyphs(rng: np.random.Generator) -> bytes:
        if rng.random() < 0.5:
            return damaged(packed, rng)
        return lzma.compress(damaged(lines.encode(), rng), preset=0)

    yield Target("font", packed, glyphs, lambda data: font.read_glyphs(data) and None)


def _judged(folder: Path) -> Iterator[Target]:
    place = folder / "judged"
    place.mkdir()
    parts = {
        "corpus.jsonl": b'{"_id": "a", "title": "T", "text": "one"}\n{"_id": "b", "text": "two"}\n',
        "queries.jsonl": b'{"_id": "q", "text": "which?"}\n',
        "qrels.tsv": b"query-id\tcorpus-id\tscore\nq\ta\t1\nq\tb\t0\n",
    }
    for name, data in parts.items():
        (place / name).write_bytes(data)
    collection = load_collection(place)

    def judged(given: Any) -> None:
        name, data = given
        (place / name).write_bytes(data)
        try:
            load_collection(place)
        finally:
            (place / name).write_bytes(parts[name])

    def part(rng: np.random.Generator) -> Any:
        name = str(rng.choice(list(parts)))
        return name, damaged(parts[name], rng)

    yield Target("judged collection", ("qrels.tsv", parts["qrels.tsv"]), part, judged)
    buffer = io.BytesIO()
    made = {
        **{"corpus": np.eye(2, 4, dtype=np.float32), "queries": np.ones((1, 4), np.float32)},
        **{"corpus_ids": np.array(["a", "b"]), "query_ids": np.array(["q"])},
    }
    np.savez_compressed(buffer, **made)
    archive = folder / "vectors.npz"

    def npz(rng: np.random.Generator) -> bytes:
        if rng.random() < 0.4:
            return damaged(buffer.getvalue(), rng)
        out = io.BytesIO()
        try:
            arrays, _ = altered_arrays(made, {}, rng)
            np.savez(out, **arrays)
        except Exception:  # what cannot be written is no input
            return damaged(buffer.getvalue(), rng)
        data = out.getvalue()
        if rng.random() < 0.5:  # a header that names other sizes
            at = data.find(b"'shape': (") + 10
            data = data[:at] + b"9" + data[at + 1 :]
        return data

    def vectors(data: bytes) -> None:
        archive.write_bytes(data)
        found = load_vectors(archive, collection)
        assert len(found.corpus) == 2

    yield Target("vectors of a collection", buffer.getvalue(), npz, vectors)
    pairs = folder / "pairs.tsv"
    scored = b"score\tsentence1\tsentence2\n4.5\tone\ttwo\n1\tthree\tfour\n2.0\tfive\tsix\n"

    def sts(data: bytes) -> None:
        pairs.write_bytes(data)
        assert np.isfinite(load_pairs(pairs).scores).all()

    yield Target("sentence pairs", scored, lambda rng: damaged(scored, rng), sts)


def _texts(folder: Path) -> Iterator[Target]:
    training = folder / "training.json"
    schedule = json.dumps({"seed": 1, "word_minutes": 2.5, "noise": 0.1, "sources": {"a": 1.0}})

    def trained(data: bytes) -> None:
        training.write_bytes(data)
        TrainingConfig.from_file(training)

    yield Target(
        "training configuration",
        schedule.encode(),
        lambda rng: damaged_json(schedule.encode(), rng),
        trained,
    )
    texts = folder / "texts"
    texts.mkdir()
    gz = gzip.compress(b"one sentence here.\nanother one.\n" * 4)

    def corpus(data: bytes) -> None:
        (texts / "a.txt.gz").write_bytes(data)
        Corpus(texts)

    yield Target("training text", gz, lambda rng: damaged(gz, rng), corpus)
    users = {
        "a.jsonl": b'{"title": "T", "text": "one"}\n{"body": "two", "n": 3}\n"three"\n',
        "a.csv": b'id,text\n1,"one, two"\n2,three\n',
        "a.html": b"<html><title>T</title><body><p>one<br>two</p><ul><li>a</ul></body></html>",
        "a.txt": "prose of a file, é".encode(),
    }

    def user_file(rng: np.random.Generator) -> Any:
        name = str(rng.choice(list(users)))
        return name, damaged(users[name], rng)[:4000]

    def user_text(given: Any) -> None:
        for text in texts_of(Path(given[0]), given[1]):
            assert "\0" not in text
            text.encode()

    yield Target("files to index", ("a.csv", users["a.csv"]), user_file, user_text)
