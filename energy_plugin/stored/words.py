"""Words of a host's documents in memory, by the ids of its rows; scored when first asked.

What is read, written and dropped is kept as a log of packed words, which costs no more than its
bytes. The first hybrid query turns it into an index.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import CorruptFieldError, ForeignFieldError, InvalidInputError
from energy_plugin.stored.rows import RowMap

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from energy_plugin.lexical import LexicalIndex, RowWords, Tokenizer

WORDS = 1_000  # rows of a query that words find, at most
ROW_BYTES = 1_500  # of a row of some hundred different words, while all are packed or unpacked


@dataclass(frozen=True, eq=False)
class Worded:
    """Words of some rows.

    Parameters
    ----------
    ids : sequence of hashable, length n
    words : RowWords or bytes
        Of these rows, in their order; bytes are those of `RowWords.to_bytes`.
    prints : ndarray of shape (n,), uint32
        `document_print` of each document that the words were read from.
    """

    ids: Sequence[Any]
    words: RowWords | bytes
    prints: NDArray[np.uint32]


def document_print(text: str | None) -> int:
    """CRC-32 of a document; that of none is that of an empty one."""
    return zlib.crc32((text or "").encode("utf-8", "surrogatepass"))


def tokenizer_of(language: str | bool) -> Tokenizer:
    """The tokenizer of a language; True stands for English.

    Raises
    ------
    InvalidInputError
        An unknown language.
    OptionalDependencyError
        The extra ``lexical`` is not installed.
    """
    from energy_plugin.lexical import Tokenizer

    if language is True:
        return Tokenizer()
    if not isinstance(language, str):
        raise InvalidInputError(
            f"lexical must be True, False or the name of a language, got {language!r}. Use True "
            "for English texts."
        )
    return Tokenizer(language)


class LiveWords:
    """Words of the documents of one table or collection.

    Parameters
    ----------
    tokenizer : Tokenizer
    share : float, optional
        `lexical_weight` of a query that names none.
    """

    def __init__(self, tokenizer: Tokenizer, share: float | None = None) -> None:
        self.tokenizer = tokenizer
        self.share = share
        self._log: list[Worded | list[Any]] = []  # words that came, ids that went
        self._rows = RowMap([], np.empty(0, dtype=np.uint32))
        self._index: LexicalIndex | None = None

    @classmethod
    def of(cls, identity: str, share: float | None = None) -> LiveWords:
        """Words that were stored by a tokenizer of that identity.

        Raises
        ------
        ForeignFieldError
            This version of the package reads words otherwise.
        OptionalDependencyError
            The extra ``lexical`` is not installed.
        """
        tokenizer = tokenizer_of(identity.rpartition("/")[0])
        if tokenizer.identity != identity:
            raise ForeignFieldError(
                f"The stored words were read by tokenizer {identity!r}, this version has "
                f"{tokenizer.identity!r}. Call build(lexical=True) again."
            )
        return cls(tokenizer, share)

    # -- rows

    def encode(self, ids: Sequence[Any], texts: Sequence[str | None]) -> Worded:
        """Words of documents, without keeping them."""
        from energy_plugin.lexical import RowWords

        prints = np.array([document_print(text) for text in texts], dtype=np.uint32)
        return Worded(list(ids), RowWords.of(list(texts), self.tokenizer), prints)

    def put(self, worded: Worded) -> None:
        """Let rows have these words, in place of those they had."""
        if len(worded.ids) == 0:
            return
        if self._index is None:
            self._log.append(worded)
            return
        former = self._rows.rows(worded.ids)
        if len(former):
            self._index.remove(former)
        self._rows.assign(worded.ids, self._index.add_words(worded.words), worded.prints)

    def drop(self, ids: Iterable[Any]) -> None:
        """Forget rows; unknown ids are left out."""
        gone = list(ids)
        if self._index is None:
            if gone:
                self._log.append(gone)
            return
        known = [name for name in dict.fromkeys(gone) if name in self._rows]
        if known:
            self._index.remove(self._rows.rows(known))
            self._rows.forget(known)

    def differing(self, ids: Sequence[Any], texts: Sequence[str | None]) -> list[Any]:
        """Those of the ids whose words are of another document, or not there."""
        self._load()
        prints = np.array([document_print(text) for text in texts], dtype=np.uint32)
        added, changed = self._rows.changed(list(ids), prints)
        return [*added, *changed]

    def altered(self, worded: Worded) -> list[Any]:
        """Those of the ids whose words differ from the given ones."""
        from energy_plugin.lexical.rows import checked

        own, other = checked(self.taken(worded.ids).words), checked(worded.words)
        return [
            name
            for row, name in enumerate(worded.ids)
            if own.take([row]).to_bytes() != other.take([row]).to_bytes()
        ]

    def missing(self, ids: Iterable[Any]) -> list[Any]:
        """Those of the ids that have no words yet."""
        self._load()
        return [name for name in ids if name not in self._rows]

    def taken(self, ids: Sequence[Any]) -> Worded:
        """Words of known rows."""
        index = self._load()
        rows = self._rows.numbers(ids)
        places = index.rows.searchsorted(rows)
        return Worded(list(ids), index.words.take(places), self._rows.fingerprints(rows))

    # -- scores

    def scores(
        self, texts: Sequence[str], rows: RowMap, width: int, allowed: Sequence[Any] | None
    ) -> csr_array:
        """BM25 of the best rows for each text, as `EnergyIndex.search(lexical=…)` takes it.

        Parameters
        ----------
        texts : sequence of str, length q
        rows : RowMap
            Of the energy index.
        width : int
            Its `next_row`.
        allowed : sequence of hashable, optional
            Ids of the rows that may be found.

        Returns
        -------
        csr_array of shape (q, width), float32
        """
        index = self._load()
        most = WORDS if allowed is None else max(1, index.next_row)
        found = index.scores(list(texts), most)
        if allowed is not None:
            found = _best(found, self._rows.rows(allowed))
        return self._renumbered(found, rows, width)

    def by_number(self, rows: RowMap, width: int) -> RowsByNumber:
        """The same words under the numbers of an energy index, for `EnergyIndex.lexical_share`."""
        return RowsByNumber(self, rows, width)

    def _renumbered(self, found: csr_array, rows: RowMap, width: int) -> csr_array:
        """Columns as numbers of the energy index; rows that it lacks are left out."""
        from scipy.sparse import csr_array

        numbers = rows.places(self._rows.names(found.indices.tolist()))
        known = numbers >= 0
        ends = np.concatenate([[0], np.cumsum(known)])[found.indptr]
        return csr_array((found.data[known], numbers[known], ends), shape=(found.shape[0], width))

    # -- inside

    def _load(self) -> LexicalIndex:
        """The index of the words, made of the log when it is first needed."""
        if self._index is None:
            from energy_plugin.lexical import LexicalIndex, RowWords
            from energy_plugin.lexical.rows import checked

            place: dict[Any, tuple[int, int]] = {}  # part of the log, and row in it
            for number, part in enumerate(self._log):
                if isinstance(part, Worded):
                    place.update((name, (number, row)) for row, name in enumerate(part.ids))
                else:
                    for name in part:
                        place.pop(name, None)
            kept: dict[int, list[int]] = {}
            for number, row in place.values():
                kept.setdefault(number, []).append(row)
            ids: list[Any] = []
            words: list[RowWords] = []
            prints: list[NDArray[np.uint32]] = [np.empty(0, dtype=np.uint32)]
            for number, places in sorted(kept.items()):
                part = self._log[number]
                assert isinstance(part, Worded)
                read = checked(part.words)
                if not len(read) == len(part.prints) == len(part.ids):
                    raise CorruptFieldError(
                        f"{len(part.ids)} rows have the words of {len(read)} documents. "
                        "Call build(lexical=True) again."
                    )
                ids += [part.ids[row] for row in places]
                words.append(read.take(places))
                prints.append(part.prints[places])
            index = LexicalIndex(self.tokenizer.language)
            index.add_words(RowWords.concat(words))
            self._rows = RowMap(ids, np.concatenate(prints))
            self._index, self._log = index, []
        return self._index


@dataclass(frozen=True, eq=False)
class RowsByNumber:
    """Words of rows by the numbers of an energy index."""

    words: LiveWords
    rows: RowMap
    width: int

    def scores_of(self, rows: Any, k: int = WORDS) -> csr_array:
        """BM25 of the k best rows for the words of some rows, (q, width)."""
        own = self.words._rows.numbers(self.rows.names(np.asarray(rows).tolist()))
        found = self.words._load().scores_of(own, k)
        return self.words._renumbered(found, self.rows, self.width)


def _best(found: csr_array, allowed: NDArray[np.int64]) -> csr_array:
    """Scores of the allowed columns alone, and of those the `WORDS` best of each line."""
    from scipy.sparse import csr_array

    may = np.zeros(found.shape[1], dtype=bool)
    may[allowed] = True
    columns, values, ends = [], [], [0]
    for start, stop in zip(found.indptr, found.indptr[1:], strict=False):
        mine, scores = found.indices[start:stop], found.data[start:stop]
        inside = may[mine]
        mine, scores = mine[inside], scores[inside]
        best = np.argsort(-scores, kind="stable")[:WORDS]
        columns.append(mine[best])
        values.append(scores[best])
        ends.append(ends[-1] + len(best))
    return csr_array(
        (
            np.concatenate([np.empty(0, dtype=np.float32), *values]),
            np.concatenate([np.empty(0, dtype=np.int64), *columns]),
            np.array(ends),
        ),
        shape=found.shape,
    )
