"""Parsers of what databases keep: fields, codes, chunks, columns and pointers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.energy_data import clustered
from support.fuzzing.mutations import altered, altered_arrays, damaged, damaged_json

DIM = 16

Mutate = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Target:
    """A parser: how its inputs are made, and what reads them."""

    name: str
    whole: Any  # an input that is not damaged
    mutate: Mutate  # one that is
    parse: Callable[[Any], None]  # raises unless the input is refused well or answered well


def stores() -> Iterator[Target]:
    """All of them."""
    yield from _core()
    yield from _chroma()
    yield from _lancedb()


# -- the core


def _collection(bits: int = 4, seed: int = 0) -> Any:
    from energy_plugin.energy import EnergyConfig, EnergyIndex

    config = EnergyConfig(n_anchors=7, bits=bits, seed=seed)
    return EnergyIndex.fit(clustered(60, DIM)[0], config, device="cpu")


def _answers(field: Any, columns: Any) -> None:
    """A search over what was read gives rows that there are, at finite distances."""
    from energy_plugin.energy import EnergyIndex

    index = EnergyIndex.from_columns(field, columns, device="cpu")
    found = index.search(clustered(2, DIM, seed=3)[0], 5)
    assert np.isfinite(found.distances).all(), "distances are not finite"
    assert np.isin(found.ids, index.rows).all(), "rows that there are not"


def _sealed(blob: bytes, rng: np.random.Generator) -> bytes:
    """Damage of three kinds: to the bytes, to the body under a right checksum, to the arrays."""
    from energy_plugin.energy.codec import packing

    what = rng.random()
    head = len(packing.MAGIC) + packing.CHECKSUM_BYTES
    if what < 0.2:
        return damaged(blob, rng)
    if what < 0.4:
        body = damaged(blob[head:], rng)
        return packing.MAGIC + packing._checksum(body) + body
    if what < 0.7:  # a bit or two of the values, under a right checksum
        arrays, metadata = packing.loads(blob)
        name = str(rng.choice(list(arrays)))
        kept = arrays[name]
        arrays[name] = np.frombuffer(_flips(kept.tobytes(), rng), kept.dtype).reshape(kept.shape)
        return packing.dumps(arrays, metadata)
    try:
        return packing.dumps(*altered_arrays(*packing.loads(blob), rng))
    except Exception:  # what cannot be written is no input
        return damaged(blob, rng)


def _core() -> Iterator[Target]:
    from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField
    from energy_plugin.forgetting import Schedule

    index = _collection()
    blob, columns = index.field.to_bytes(), index.columns

    def field(data: bytes) -> None:
        read = EnergyField.from_bytes(data)
        lambda_, dispersion = read.taumode(np.eye(read.dim, dtype=np.float32)[:4])
        assert np.isfinite(lambda_).all(), "λ is not finite"
        assert np.isfinite(dispersion).all(), "G is not finite"
        if read.dim == DIM:
            _answers(read, EnergyColumns(*_parts(columns)))

    yield Target("field", blob, lambda rng: _sealed(blob, rng), field)

    whole = {name: getattr(columns, name).tobytes() for name in _COLUMNS}
    width = columns.residual.shape[1]

    def some_columns(rng: np.random.Generator) -> Any:
        raw = dict(whole)
        name = str(rng.choice([*_COLUMNS, "residual", "residual"]))
        raw[name] = damaged(raw[name], rng) if rng.random() < 0.5 else _flips(raw[name], rng)
        return raw, width + int(rng.choice([0, 0, 0, 0, 1, -1, 8, -8]))

    def codes(given: Any) -> None:
        raw, width = given
        arrays = []
        for name, dtype in _COLUMNS.items():
            size = np.dtype(dtype).itemsize * (width if name == "residual" else 1)
            whole = raw[name][: len(raw[name]) // size * size]
            arrays.append(np.frombuffer(whole, dtype))
        arrays[3] = arrays[3].reshape(-1, width)
        _answers(index.field, EnergyColumns(*arrays))

    yield Target("codes", (whole, width), some_columns, codes)

    config = json.dumps(EnergyConfig(n_anchors=7).to_dict()).encode()
    yield _json("energy configuration", config, EnergyConfig.from_dict)
    yield _json("schedule", json.dumps(Schedule().to_dict()).encode(), Schedule.from_dict)


_COLUMNS = {
    "lambda_": np.float32,
    "dispersion": np.float32,
    "cell": np.int32,
    "residual": np.uint8,
}


def _parts(columns: Any) -> list[Any]:
    return [getattr(columns, name) for name in _COLUMNS]


def _flips(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _json(name: str, text: bytes, parse: Callable[[Any], Any]) -> Target:
    """A parser of JSON values."""

    def value(rng: np.random.Generator) -> Any:
        return altered(json.loads(text), rng)

    return Target(name, json.loads(text), value, lambda given: parse(given) and None)


# -- the hosts


def _chroma() -> Iterator[Target]:
    from energy_chroma.chunks import pack, unpack_all
    from energy_chroma.embedding import OpticalEmbeddingFunction
    from energy_chroma.pointer import Pointer, embedder_of, identity_text, pointer_in
    from energy_chroma.store import _belongs

    index = _collection()
    short = _collection(bits=8)
    short.lower(short.rows[:50], 1)
    ids = [f"r{i}" for i in range(60)]
    prints = np.arange(60, dtype=np.uint32)
    for name, made in (("Chroma chunk", index), ("Chroma chunk, short codes", short)):
        blob = pack(ids, made.columns, prints)

        def chunk(data: bytes, made: Any = made) -> None:
            rows, _ = unpack_all([data], DIM)
            assert len(rows.ids) == len(rows.columns) == len(rows.fingerprints)
            _answers(made.field, rows.columns)

        yield Target(name, blob, lambda rng, blob=blob: _sealed(blob, rng), chunk)

    pointer = Pointer("of", DIM, identity_text({"name": "n", "config": {"a": 1}}), True, 3, 2, 9, 3)
    text = json.dumps({"energy_format": 1, **pointer.__dict__}).encode()

    def parse(metadata: Any) -> None:
        read = pointer_in(metadata if isinstance(metadata, dict) else {}, "energy-x")
        if read is not None:
            embedder_of(read)
            for record in ("3/field/0", "3/rows/0/0", "3/rows/x", "", "3", "rows/9"):
                _belongs(record, read)

    yield _json("Chroma pointer", text, parse)
    config = {
        **{"format_version": 1, "model": "compact", "batch_size": None, "truncate_dim": None},
        **{"fingerprint": "0" * 16, "encoder": {"name": "compact"}},
    }
    config["batch_size"] = 8
    yield _json(
        "Chroma embedding function",
        json.dumps(config).encode(),
        OpticalEmbeddingFunction.build_from_config,
    )


def _lancedb() -> Iterator[Target]:
    import pyarrow as pa
    from energy_lancedb.columns import NAMES
    from energy_lancedb.pointer import Pointer, embedder_of, rows_of

    index = _collection()
    sha256 = "ab" * 32
    pointer = Pointer(
        **{"generation": 3, "layout": "columns", "vector_column": "vector", "dim": DIM},
        **{"code_bytes": index.columns.residual.shape[1], "artefacts": "t__energy", "chunks": 1},
        **{"sha256": sha256, "embedder": None, "n_fitted": 60, "files": ("a", "b")},
        config=index.field.config.to_dict(),
    )
    text = pointer.to_json().encode()

    def parse(data: bytes) -> None:
        read = Pointer.from_json(data)
        condition = rows_of(read)
        assert condition == f"(generation = {int(read.generation)} AND sha256 = '{read.sha256}')"
        assert set(read.sha256) <= set("0123456789abcdef"), "a quote could end the literal"

    yield Target("LanceDB pointer", text, lambda rng: damaged_json(text, rng), parse)
    entry = {"vector_column": "vector", "name": "f", "model": {"fingerprint": "x", "dim": 3}}

    def embedder(data: bytes) -> None:
        embedder_of(pa.schema([], metadata={b"embedding_functions": data}), "vector")

    yield Target(
        "LanceDB embedding function",
        json.dumps([entry]).encode(),
        lambda rng: damaged_json(json.dumps([entry]).encode(), rng),
        embedder,
    )
    lowered = _collection(bits=8)
    lowered.lower(lowered.rows[:40], 2)
    mixed = Pointer(
        **{**pointer.__dict__, "mixed": True, "code_bytes": lowered.columns.residual.shape[1]}
    )
    for name, form, made in (
        ("LanceDB columns", pointer.format, index),
        ("LanceDB columns, mixed", mixed.format, lowered),
    ):
        prints = np.arange(60, dtype=np.uint32)
        arrays = form.to_arrow(made.columns, prints)
        buffers = [[None if b is None else b.to_pybytes() for b in a.buffers()] for a in arrays]

        def columns(rng: np.random.Generator, arrays=arrays, buffers=buffers) -> Any:
            """Arrow columns over altered buffers: values and offsets, lengths kept."""
            out = []
            chosen = int(rng.choice([0, 1, 2, 3, 3, 3]))
            for i, (array, held) in enumerate(zip(arrays, buffers, strict=True)):
                parts = list(held)
                if i == chosen:
                    place = int(rng.choice([j for j, part in enumerate(parts) if part]))
                    size = len(parts[place])
                    new = _flips(parts[place], rng)
                    if rng.random() < 0.6:
                        new = damaged(parts[place], rng)[:size]
                    parts[place] = new + bytes(size - len(new))
                kept = [None if part is None else pa.py_buffer(part) for part in parts]
                try:
                    made = pa.Array.from_buffers(array.type, len(array), kept)
                    pa.table({"one": made[-57:]}).validate()
                    out.append(made)
                except pa.ArrowInvalid:  # refused before it is ours
                    out.append(array)
            if rng.random() < 0.1:
                out[chosen] = [out[chosen].slice(3), pa.nulls(60, arrays[chosen].type)][
                    int(rng.integers(2))
                ]
            return pa.table({name: array[-57:] for name, array in zip(NAMES, out, strict=True)})

        def read(table: Any, form=form, made=made) -> None:
            columns, prints = form.from_arrow(table)
            true = prints == np.arange(60, dtype=np.uint32)[-57:]
            same = np.ones(57, dtype=bool)
            for part in _COLUMNS:
                got, want = getattr(columns, part), getattr(made.columns, part)[-57:]
                alike = got == want if got.ndim == 1 else (got == want).all(axis=1)
                same &= alike
            assert not (true & ~same).any(), "an altered row has the right fingerprint"
            _answers(made.field, columns)

        sound = pa.table({name: a[-57:] for name, a in zip(NAMES, arrays, strict=True)})
        yield Target(name, sound, columns, read)
