"""Ids, columns, fingerprints and words of rows as packed chunks."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy import EnergyColumns
from energy_plugin.energy.codec import packing
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.stored.words import Worded

if TYPE_CHECKING:
    from energy_plugin.stored.words import LiveWords

CHUNK_ROWS = 8_192
FORMAT_VERSION = 1
KIND = "chroma rows"
MOST_ID_BYTES = 1 << 28  # ids of one chunk
SHORT_SHARE = 0.95  # codes are stored at their own lengths where that takes at most this much

_DTYPES = {
    "ids": np.uint8,
    "lambda": np.float32,
    "dispersion": np.float32,
    "cell": np.int32,
    "fingerprint": np.uint32,
}


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows as they are stored.

    Parameters
    ----------
    ids : list of str, length n
    columns : EnergyColumns
    fingerprints : ndarray of shape (n,), uint32
        Of the vectors.
    worded : Worded, optional
        Words of the rows' documents.
    gone : list of str
        Ids that were deleted before these rows came.
    """

    ids: list[str]
    columns: EnergyColumns
    fingerprints: NDArray[np.uint32]
    worded: Worded | None = None
    gone: list[str] = field(default_factory=list)


def pack(
    ids: Sequence[str],
    columns: EnergyColumns,
    fingerprints: NDArray[np.uint32],
    worded: Worded | None = None,
    gone: Sequence[str] = (),
) -> bytes:
    """One chunk, checksummed; see `Chunk`.

    Raises
    ------
    InvalidInputError
        The ids take more bytes than a reader accepts.
    """
    arrays: dict[str, NDArray[Any]] = {
        "ids": _packed_ids(ids),
        "lambda": columns.lambda_,
        "dispersion": columns.dispersion,
        "cell": columns.cell,
        "fingerprint": fingerprints,
        **_shortened(columns.residual),
    }
    if worded is not None:
        words = worded.words if isinstance(worded.words, bytes) else worded.words.to_bytes()
        arrays["words"] = np.frombuffer(words, dtype=np.uint8)
        arrays["document"] = worded.prints
    if gone:
        arrays["gone"] = _packed_ids(gone)
    metadata = {"kind": KIND, "format_version": str(FORMAT_VERSION)}
    return packing.dumps(arrays, {**metadata, "field": columns.field_id or ""})


def unpack(blob: bytes, dim: int) -> Chunk:
    """What `pack` packed, for vectors of `dim` dimensions.

    Raises
    ------
    CorruptFieldError
        Checksum, format version or contents are wrong.
    """
    arrays, metadata = packing.loads(blob)
    if metadata.get("kind") != KIND:
        raise CorruptFieldError(
            f"A chunk of energy columns was expected, got {metadata!r}. Call build() again."
        )
    packing.check_version(metadata, FORMAT_VERSION, "A chunk of energy columns")
    try:
        for name, dtype in _DTYPES.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                raise ValueError(f"{name} is {arrays[name].dtype}{list(arrays[name].shape)}")
        ids = _ids(arrays["ids"])
        lengths = {len(ids), *(len(arrays[name]) for name in _DTYPES if name != "ids")}
        if len(lengths) > 1:
            raise ValueError(f"its parts have {sorted(lengths)} rows")
        columns = EnergyColumns(
            arrays["lambda"],
            arrays["dispersion"],
            arrays["cell"],
            _restored(arrays, len(ids), dim),
            metadata.get("field") or None,
        )
        worded = _worded(arrays, ids)
        gone = _ids(arrays["gone"]) if "gone" in arrays else []
    except (KeyError, ValueError, RecursionError, zlib.error) as error:
        raise CorruptFieldError(
            f"A chunk of energy columns is incomplete or altered ({error}). Call build() again."
        ) from error
    return Chunk(ids, columns, arrays["fingerprint"], worded, gone)


def _worded(arrays: dict[str, NDArray[Any]], ids: list[str]) -> Worded | None:
    """Words of a chunk; they are unpacked when a query needs them."""
    if "words" not in arrays:
        return None
    words, prints = arrays["words"], arrays["document"]
    if words.dtype != np.uint8 or words.ndim != 1 or prints.dtype != np.uint32:
        raise ValueError(f"words are {words.dtype}, prints of documents {prints.dtype}")
    if prints.shape != (len(ids),):
        raise ValueError(f"prints of documents are {list(prints.shape)} for {len(ids)} rows")
    return Worded(ids, words.tobytes(), prints)


def _packed_ids(ids: Sequence[str]) -> NDArray[np.uint8]:
    text = json.dumps(list(ids), ensure_ascii=False).encode()
    if len(text) > MOST_ID_BYTES:
        raise InvalidInputError(
            f"The ids of {len(ids)} rows take {len(text)} bytes, expected at most {MOST_ID_BYTES}. "
            "Use shorter ids, or write fewer rows at once."
        )
    return np.frombuffer(zlib.compress(text, level=1), dtype=np.uint8)


def _ids(packed: NDArray[np.uint8]) -> list[str]:
    """Ids of a chunk, of no more bytes than `pack` writes."""
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed.tobytes(), MOST_ID_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError(f"its ids are cut off, or take more than {MOST_ID_BYTES} bytes")
    ids = json.loads(text)
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise ValueError("its ids are not a list of strings")
    return ids


def _shortened(codes: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Codes without the zeros at their ends, where rows have lost planes and it pays.

    A code that has fewer planes than the column has room for ends in zeros.
    """
    n, width = codes.shape
    lengths = (width - (codes[:, ::-1] != 0).argmax(axis=1)).astype(np.uint16)
    lengths[~codes.any(axis=1)] = 0
    if int(lengths.sum()) + 2 * n > SHORT_SHARE * codes.size:
        return {"residual": codes}
    kept = codes[np.arange(width) < lengths[:, None]]
    return {"residual": kept, "length": lengths, "width": np.array([width], dtype=np.int64)}


def _restored(arrays: dict[str, NDArray[Any]], n: int, dim: int) -> NDArray[np.uint8]:
    """What `_shortened` was given: codes of n rows; checked before memory is taken."""
    from energy_plugin.energy.codec.codes import code_bytes

    short = "length" in arrays
    residual = arrays["residual"]
    width = int(arrays["width"].item()) if short else (0, *residual.shape)[-1]
    if width not in [code_bytes(dim, bits) for bits in BIT_CHOICES]:
        raise ValueError(f"codes of {width} bytes do not fit {dim} dimensions")
    if not short:
        if residual.dtype != np.uint8 or residual.shape != (n, width):
            raise ValueError(f"codes are {residual.dtype}{list(residual.shape)} for {n} rows")
        return residual
    lengths = arrays["length"]
    if lengths.dtype != np.uint16 or lengths.shape != (n,) or lengths.max(initial=0) > width:
        raise ValueError(f"lengths of codes are {lengths.dtype}{list(lengths.shape)}")
    if residual.dtype != np.uint8 or residual.shape != (int(lengths.sum(dtype=np.int64)),):
        raise ValueError(f"codes are {residual.dtype}{list(residual.shape)}")
    codes = np.zeros((n, width), dtype=np.uint8)
    codes[np.arange(width) < lengths[:, None]] = residual
    return codes


def pack_all(
    ids: Sequence[str],
    columns: EnergyColumns,
    fingerprints: NDArray[np.uint32],
    words: LiveWords | None = None,
) -> Iterator[bytes]:
    """Chunks of at most 8,192 rows; one empty chunk where there are no rows."""
    for start in range(0, max(1, len(ids)), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        worded = None if words is None else words.taken(ids[part])
        yield pack(ids[part], columns.take(part), fingerprints[part], worded)


def unpack_all(blobs: Iterable[bytes], dim: int) -> tuple[Chunk, list[Worded | list[str]]]:
    """Rows of several chunks; of an id in two of them the later one counts.

    Returns
    -------
    rows : Chunk
        All rows that are left, without their words.
    log : list
        Words that came and ids that went, in order.

    Raises
    ------
    CorruptFieldError
        See `unpack`; or no chunk, or chunks with codes of different lengths.
    ForeignFieldError
        Chunks of different fields.
    """
    parts = [unpack(blob, dim) for blob in blobs]
    widths = {part.columns.residual.shape[1] for part in parts}
    if len(widths) != 1:
        raise CorruptFieldError(
            f"{len(parts)} chunks of energy columns have codes of {sorted(widths)} bytes, expected "
            "one length. Call build() again."
        )
    ids = [name for part in parts for name in part.ids]
    columns = EnergyColumns.concat([part.columns for part in parts])
    fingerprints = np.concatenate([part.fingerprints for part in parts])
    last: dict[str, int] = {}
    log: list[Worded | list[str]] = []
    start = 0
    for part in parts:
        for name in part.gone:
            last.pop(name, None)
        last.update(zip(part.ids, range(start, start + len(part.ids)), strict=True))
        start += len(part.ids)
        # words of a chunk that was written without them are not known any more
        log.append(part.gone if part.worded is not None else [*part.gone, *part.ids])
        if part.worded is not None:
            log.append(part.worded)
    if len(last) < len(ids):
        keep = np.array(sorted(last.values()), dtype=np.int64)
        ids = [ids[position] for position in keep]
        columns, fingerprints = columns.take(keep), fingerprints[keep]
    return Chunk(ids, columns, fingerprints), log
