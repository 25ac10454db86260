"""Damage to stored bytes and JSON: what a fault of a disk, a cut transfer or a person could do."""

from __future__ import annotations

import copy
import json

import numpy as np

HUGE = (2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
ODD = (
    *(None, True, False, 0, -1, 1, 2, 3, 10**6, 2**31, 2**63, 10**30, -(2**63)),
    *(0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "'", "' OR 1=1 --", '"); DROP TABLE pages; --', "\0", "\n", "../../x", "é" * 50),
    *([], {}, [[]], [None], {"": None}, ["a"] * 100, {"name": 1}),
)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three faults: flips, cuts, growth, lengths blown up, sections swapped."""
    for _ in range(int(rng.integers(1, 4))):
        data = _FAULTS[int(rng.integers(len(_FAULTS)))](data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """A position, as often as not among the first hundred bytes, where headers are."""
    return int(rng.integers(min(len(data), 100) + 1 if rng.random() < 0.5 else len(data) + 1))


def _flipped(data, rng):
    if not data:
        return data
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        out[min(_place(data, rng), len(data) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _cut(data, rng):
    return data[: _place(data, rng)]


def _grown(data, rng):
    return data + rng.bytes(int(rng.integers(1, 200)))


def _inserted(data, rng):
    at = _place(data, rng)
    return data[:at] + rng.bytes(int(rng.integers(1, 20))) + data[at:]


def _removed(data, rng):
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 20)) :]


def _swapped(data, rng):
    a, b, c = sorted(_place(data, rng) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _repeated(data, rng):
    a, b = sorted(_place(data, rng) for _ in range(2))
    return data[:b] + data[a:b] * int(rng.integers(1, 5)) + data[b:]


def _blown(data, rng):
    """A length field of four or eight bytes becomes huge."""
    at, width = _place(data, rng), int(rng.choice([4, 8]))
    value = HUGE[int(rng.integers(len(HUGE)))] % (1 << 8 * width)
    return data[:at] + value.to_bytes(width, "little") + data[at + width :]


def _digits(data, rng):
    """A number in text becomes huge."""
    places = [i for i, byte in enumerate(data[:4000]) if 48 <= byte < 58]
    if not places:
        return data
    at = places[int(rng.integers(len(places)))]
    return data[:at] + b"9" * int(rng.choice([9, 18, 30, 5000])) + data[at:]


def _nested(data, rng):
    at = _place(data, rng)
    return data[:at] + bytes(rng.choice(list(b'[{"'), 1)) * 20_000 + data[at:]


_FAULTS = (
    *(_flipped, _flipped, _flipped, _cut, _cut, _grown, _inserted, _removed),
    *(_swapped, _repeated, _blown, _blown, _digits, _nested),
)


def altered(value, rng: np.random.Generator):
    """A JSON value with one to three of its parts replaced, removed, renamed or moved."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(value))
        if not places:
            return ODD[int(rng.integers(len(ODD)))]
        holder, key = places[int(rng.integers(len(places)))]
        what = rng.random()
        if what < 0.7:
            holder[key] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
        elif what < 0.8:
            del holder[key]
        elif what < 0.9 and isinstance(holder, dict):
            holder[key + "_"] = holder.pop(key)
        else:
            other, place = places[int(rng.integers(len(places)))]
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = copy.deepcopy(other[place])
    return value


def _places(value):
    """Every (container, key) inside a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def damaged_json(text: bytes, rng: np.random.Generator) -> bytes:
    """JSON as bytes, altered in its values or in its characters."""
    if rng.random() < 0.3:
        return damaged(text, rng)
    return json.dumps(altered(json.loads(text), rng)).encode()


def altered_arrays(arrays, metadata, rng: np.random.Generator):
    """Named arrays and their description, one to three of them changed in kind, size or value."""
    arrays, metadata = dict(arrays), dict(metadata)
    for _ in range(int(rng.integers(1, 4))):
        what = rng.random()
        if what < 0.35 and metadata:
            name = str(rng.choice(list(metadata)))
            text = metadata[name].encode()
            text = damaged_json(text, rng) if text[:1] in (b"{", b"[") else damaged(text, rng)
            metadata[name] = text.decode("utf-8", "replace")
        elif what < 0.4 and metadata:
            metadata.pop(str(rng.choice(list(metadata))))
        elif arrays:
            name = str(rng.choice(list(arrays)))
            change = _ARRAYS[int(rng.integers(len(_ARRAYS)))]
            arrays[name] = change(arrays[name], rng)
            if arrays[name] is None:
                del arrays[name]
    return arrays, metadata


def _values(array, rng):
    """A few elements of other bits: huge numbers, NaN, places that there are not."""
    out = np.array(array)
    if out.size and out.ndim:
        flat = out.reshape(-1)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(flat.size))
            flat[at : at + 1].view(np.uint8)[:] = np.frombuffer(
                rng.bytes(out.itemsize), np.uint8
            ) | int(rng.choice([0, 0x7F, 0xFF]))
    return out


def _other_type(array, rng):
    kind = rng.choice(["f2", "f4", "f8", "i1", "u1", "i4", "i8", "u2", "u4", "?"])
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(kind)


def _other_shape(array, rng):
    array = np.asarray(array)
    shapes = [(-1,), (array.size, 1), (1, array.size), (1, *array.shape), array.shape[::-1]]
    return array.reshape(shapes[int(rng.integers(len(shapes)))])


_ARRAYS = (
    *(_values, _values, _values, _other_type, _other_shape),
    lambda array, rng: np.asarray(array)[: int(rng.integers(len(array) + 1))],
    lambda array, rng: np.concatenate([array] * 2),
    lambda array, rng: np.empty((0, *np.shape(array)[1:]), np.asarray(array).dtype),
    lambda array, rng: None,
    lambda array, rng: np.zeros((0, 2**40), np.asarray(array).dtype),
)
