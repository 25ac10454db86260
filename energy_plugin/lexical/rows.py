"""Words of rows: which terms a row holds, and how often.

Stored bytes (`to_bytes`), n rows with p terms in all, v of them different
--------------------------------------------------------------------------
========== =========== =======================================================
array      bytes       meaning
========== =========== =======================================================
lengths    4·n         different terms of each row, int32
known      4·v         the terms, ascending, uint32
terms      4·p or 2·p  place of each row's terms in `known`, as gaps, uint32 or uint16
counts     p           how often, uint8; more than 255 count as 255
========== =========== =======================================================

in a zlib stream, in the checksummed container of `codec.packing`. A thousand abstracts of 90
different words take some 180 bytes a row.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.codec import packing
from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.lexical.tokens import Tokenizer, as_texts

KIND = "row-words"
FORMAT_VERSION = 1
MOST = 255  # occurrences that count
LARGEST = 1 << 30  # bytes of a packed chunk, unpacked


@dataclass(frozen=True, eq=False)
class RowWords:
    """Terms of n rows and their counts, in compressed rows.

    Parameters
    ----------
    indptr : ndarray of shape (n + 1,), int64
    terms : ndarray of shape (p,), uint32
        Ascending within a row.
    counts : ndarray of shape (p,), uint8
    """

    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    counts: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.indptr.nbytes + self.terms.nbytes + self.counts.nbytes)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Words of each row, repeated ones too; (n,)."""
        total = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])
        return np.diff(total[self.indptr])

    @classmethod
    def of(cls, texts: Any, tokenizer: Tokenizer) -> RowWords:
        """Words of some texts.

        Raises
        ------
        InvalidInputError
            Something is neither a text nor None.
        """
        found = [tokenizer.counted(text) for text in as_texts(texts)]
        sizes = [len(terms) for terms, _ in found]
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate([np.empty(0, np.uint32), *(terms for terms, _ in found)]),
            np.concatenate(
                [np.empty(0, np.uint8)]
                + [counts.clip(max=MOST).astype(np.uint8) for _, counts in found]
            ),
        )

    def take(self, rows: Any) -> RowWords:
        """Words of some rows (integers or a mask), in that order."""
        where = np.arange(len(self))[rows]
        sizes = np.diff(self.indptr)[where]
        ends = np.cumsum(sizes)
        at = np.repeat(self.indptr[where] - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
        return RowWords(
            np.concatenate([[0], ends]).astype(np.int64), self.terms[at], self.counts[at]
        )

    @staticmethod
    def concat(parts: Sequence[RowWords]) -> RowWords:
        """Join rows of several blocks; no rows of none."""
        ends = np.cumsum([0, *(len(part.terms) for part in parts)])
        shifted = [part.indptr[1:] + end for part, end in zip(parts, ends, strict=False)]
        return RowWords(
            np.concatenate([[0], *shifted]).astype(np.int64),
            np.concatenate([np.empty(0, np.uint32), *(part.terms for part in parts)]),
            np.concatenate([np.empty(0, np.uint8), *(part.counts for part in parts)]),
        )

    def to_bytes(self) -> bytes:
        """One checksummed blob; the same rows give the same bytes."""
        known, place = np.unique(self.terms, return_inverse=True)
        gaps = np.diff(place.astype(np.int64), prepend=0)
        starts = self.indptr[:-1][np.diff(self.indptr) > 0]
        gaps[starts] = place[starts]
        width = np.uint16 if len(known) <= 1 << 16 else np.uint32
        arrays = (
            np.diff(self.indptr).astype("<i4"),
            known.astype("<u4"),
            gaps.astype(np.dtype(width).newbyteorder("<")),
            self.counts,
        )
        packed = zlib.compress(b"".join(array.tobytes() for array in arrays), 6)
        metadata = {
            "kind": KIND,
            "format_version": str(FORMAT_VERSION),
            "sizes": " ".join(map(str, (len(self), len(known), len(self.terms)))),
        }
        return packing.dumps({"words": np.frombuffer(packed, np.uint8)}, metadata)

    @classmethod
    def from_bytes(cls, blob: bytes) -> RowWords:
        """The rows that `to_bytes` packed.

        Raises
        ------
        CorruptFieldError
            Wrong checksum, another format version, or other bytes.
        """
        arrays, metadata = packing.loads(blob)
        if metadata.get("kind") != KIND:
            raise CorruptFieldError(
                f"These bytes hold {metadata.get('kind')!r}, expected {KIND!r}. Pass those of "
                "RowWords.to_bytes()."
            )
        packing.check_version(metadata, FORMAT_VERSION, "The words of rows")
        try:
            return _unpacked(arrays["words"], *map(int, metadata["sizes"].split()))
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise CorruptFieldError(
                f"The stored words are incomplete or altered ({error}). Build again."
            ) from error


def _unpacked(packed: NDArray[np.uint8], rows: int, known: int, terms: int) -> RowWords:
    width = 2 if known <= 1 << 16 else 4
    size = 4 * rows + 4 * known + (width + 1) * terms
    if min(rows, known, terms) < 0 or size > LARGEST:
        raise ValueError(f"its sizes are {rows}, {known} and {terms}")
    reader = zlib.decompressobj()
    body = reader.decompress(packed.tobytes(), size + 1)
    if len(body) != size:
        raise ValueError(f"it unpacks to {len(body)} bytes, expected {size}")
    lengths = np.frombuffer(body, "<i4", rows)
    names = np.frombuffer(body, "<u4", known, 4 * rows).astype(np.uint32)
    gaps = np.frombuffer(body, f"<u{width}", terms, 4 * (rows + known)).astype(np.int64)
    counts = np.frombuffer(body, np.uint8, terms, 4 * (rows + known) + width * terms).copy()
    if (lengths < 0).any() or lengths.sum() != terms:
        raise ValueError("the lengths of its rows do not add up")
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = np.cumsum(gaps)
    before = np.concatenate([[0], total])[indptr[:-1]]
    place = total - np.repeat(before, lengths)
    if terms and not 0 <= place.min() <= place.max() < known:
        raise ValueError("it names terms that do not exist")
    return RowWords(indptr, names[place], counts)


def checked(words: Any) -> RowWords:
    """Words as such, or of bytes, or several of either joined.

    Raises
    ------
    InvalidInputError
        Something else.
    """
    if isinstance(words, RowWords):
        return words
    if isinstance(words, bytes | bytearray | memoryview):
        return RowWords.from_bytes(bytes(words))
    if isinstance(words, Iterable) and not isinstance(words, str):
        return RowWords.concat([checked(each) for each in words])
    raise InvalidInputError(
        f"words must be RowWords or their bytes, got {type(words).__name__}. For texts use "
        "LexicalIndex.fit or add."
    )
