"""BM25 over rows that come and go.

========== ===================================================================
f, |D|, d̄  occurrences of a term in a row, words of the row, mean of the live rows
N, n       live rows, and those with the term
score      Σ over the words of a query: ln(1 + (N − n + ½)/(n + ½)) · f/(f + k₁(1 − b + b|D|/d̄)),
           as Lucene has it; the constant factor k₁ + 1 is left out
postings   rows and counts, sorted by term, in segments: one of most rows, and one for each
           group that was added since. They are joined when the younger ones hold a fifth
========== ===================================================================

N, n and d̄ are of the live rows at every moment, so that scores do not depend on the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.lexical.rows import RowWords, checked
from energy_plugin.lexical.tokens import Tokenizer, as_texts
from energy_plugin.validation import as_k, as_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

K1, B = 0.9, 0.4
YOUNG = 0.2  # share of the postings in younger segments
DEAD = 0.25  # share of the rows that are gone, beyond which their postings go too


class LexicalIndex:
    """Words of the rows of a collection, scored by BM25.

    Rows are numbered as in `EnergyIndex`: the first texts are 0..n−1, and numbers are never
    reused. Its scores can therefore be passed to `EnergyIndex.search(lexical=…)`.

    Parameters
    ----------
    language : str, default "english"
        See `Tokenizer`.
    k1, b : float
        Saturation of a word's occurrences, and the penalty for long rows.

    Examples
    --------
    >>> index = LexicalIndex.fit(["a red fox", "a grey wolf", "wolves and foxes"])
    >>> index.scores("fox").toarray().round(2).tolist()
    [[0.28, 0.0, 0.28]]
    """

    def __init__(self, language: str = "english", *, k1: float = K1, b: float = B) -> None:
        if not (k1 > 0 and 0 <= b <= 1):
            raise InvalidInputError(f"BM25 needs k1 > 0 and 0 <= b <= 1, got {k1!r} and {b!r}.")
        self.tokenizer = Tokenizer(language)
        self._k1, self._b = float(k1), float(b)
        self._parts: list[RowWords] = []  # of all rows since the last join; dead ones emptied
        self._segments: list[_Segment] = []
        self._alive = np.empty(0, dtype=bool)
        self._lengths = np.empty(0, dtype=np.int64)
        self._gone = 0  # dead rows that still have postings

    @classmethod
    def fit(
        cls, texts: Any, language: str = "english", *, k1: float = K1, b: float = B
    ) -> LexicalIndex:
        """The words of some texts, as rows 0..n−1; None is an empty text.

        Raises
        ------
        InvalidInputError
            A value is neither a text nor None, or the language is unknown.
        OptionalDependencyError
            The extra ``lexical`` is not installed.
        """
        index = cls(language, k1=k1, b=b)
        index.add(texts)
        return index

    @classmethod
    def from_words(
        cls, words: Any, language: str = "english", *, k1: float = K1, b: float = B
    ) -> LexicalIndex:
        """The words that a host stored: `RowWords`, bytes of `to_bytes`, or several in order."""
        index = cls(language, k1=k1, b=b)
        index.add_words(words)
        return index

    def __len__(self) -> int:
        return int(self._alive.sum())

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the live rows, ascending."""
        return np.flatnonzero(self._alive)

    @property
    def next_row(self) -> int:
        """Number that the next added row will get; the width of `scores`."""
        return len(self._alive)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, without the tokenizer's."""
        held = sum(part.nbytes for part in self._parts)
        held += sum(segment.nbytes for segment in self._segments)
        return int(held + self._alive.nbytes + self._lengths.nbytes)

    @property
    def words(self) -> RowWords:
        """Words of the live rows, in the order of `rows`."""
        return self._all().take(self._alive)

    def encode(self, texts: Any) -> RowWords:
        """Words of texts, as `add` would store them, without adding them."""
        return RowWords.of(texts, self.tokenizer)

    def add(self, texts: Any) -> NDArray[np.int64]:
        """Add rows; their numbers, which continue after the highest ever given."""
        return self.add_words(self.encode(texts))

    def add_words(self, words: Any) -> NDArray[np.int64]:
        """Add rows whose words are known: `RowWords`, their bytes, or several in order."""
        new = checked(words)
        first = self.next_row
        self._parts.append(new)
        self._alive = np.concatenate([self._alive, np.ones(len(new), dtype=bool)])
        self._lengths = np.concatenate([self._lengths, new.lengths])
        if len(new):
            self._segments.append(_Segment.of(new, first))
            young = sum(len(segment.rows) for segment in self._segments[1:])
            if young > YOUNG * len(self._segments[0].rows):
                self._join()
        return np.arange(first, self.next_row, dtype=np.int64)

    def remove(self, rows: Any) -> None:
        """Remove rows by number; the other rows keep their numbers.

        Raises
        ------
        InvalidInputError
            A number is unknown or removed already; nothing is removed then.
        """
        wanted = as_rows(rows)
        known = (wanted >= 0) & (wanted < self.next_row)
        known[known] = self._alive[wanted[known]]
        if not known.all():
            bad = wanted[~known]
            raise InvalidInputError(
                f"{len(bad)} of {len(wanted)} rows to remove are not in the index "
                f"(first: {int(bad[0])}). Nothing was removed."
            )
        for segment in self._segments:
            mine = wanted[(wanted >= segment.first) & (wanted < segment.stop)]
            segment.forget(self._all().take(mine).terms)
        self._alive[wanted] = False
        self._gone += len(wanted)
        if self._gone > DEAD * (len(self) + self._gone):
            self._join()

    def to_bytes(self) -> bytes:
        """Words of the live rows as one blob; see `RowWords.to_bytes`."""
        return self.words.to_bytes()

    @classmethod
    def from_bytes(
        cls, blob: bytes, language: str = "english", *, k1: float = K1, b: float = B
    ) -> LexicalIndex:
        """The rows that `to_bytes` packed, numbered 0..n−1.

        Raises
        ------
        CorruptFieldError
            The bytes are altered or cut off.
        """
        return cls.from_words(bytes(blob), language, k1=k1, b=b)

    def scores(self, texts: Any, k: int = 1000) -> csr_array:
        """BM25 of the k best rows of each query.

        Parameters
        ----------
        texts : str or sequence of str
            Queries; one without any known word has no scores.
        k : int, default 1000
            Rows per query, at most; ties are ordered by row number.

        Returns
        -------
        csr_array of shape (q, next_row), float32
            Only positive scores, columns ascending.
        """
        return self._scores((self.tokenizer.counted(text) for text in as_texts(texts)), as_k(k))

    def scores_of(self, rows: Any, k: int = 1000) -> csr_array:
        """The same for the words of live rows as queries; each finds itself too.

        Raises
        ------
        InvalidInputError
            A number does not belong to a live row.
        """
        wanted = as_rows(rows)
        if ((wanted < 0) | (wanted >= self.next_row)).any() or not self._alive[wanted].all():
            raise InvalidInputError("Some rows are not in the index. Pass numbers of index.rows.")
        words = self._all().take(wanted)
        parts = (slice(a, b) for a, b in zip(words.indptr, words.indptr[1:], strict=False))
        return self._scores(
            ((words.terms[p], words.counts[p].astype(np.int64)) for p in parts), as_k(k)
        )

    def _scores(
        self, queries: Iterable[tuple[NDArray[np.uint32], NDArray[np.int64]]], k: int
    ) -> csr_array:
        from scipy.sparse import csr_array

        live = len(self)
        total = int(self._lengths[self._alive].sum())
        # k₁(1 − b + b|D|/d̄) of every row
        hold = self._k1 * (1 - self._b + self._b * self._lengths * (live / max(1, total)))
        hold = hold.astype(np.float32)
        found, values, ends = [], [], [0]
        for terms, counts in queries:
            rows, scores = self._query(terms, counts, hold, k)
            found.append(rows)
            values.append(scores)
            ends.append(ends[-1] + len(rows))
        return csr_array(
            (
                np.concatenate([np.empty(0, np.float32), *values]),
                np.concatenate([np.empty(0, np.int64), *found]),
                np.array(ends),
            ),
            shape=(len(ends) - 1, self.next_row),
        )

    def _query(
        self,
        terms: NDArray[np.uint32],
        repeated: NDArray[np.int64],
        hold: NDArray[np.float32],
        k: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        held = np.zeros(len(terms), dtype=np.int64)
        slices = []
        for segment in self._segments:
            starts, stops, dead = segment.find(terms)
            held += stops - starts - dead
            slices.append((segment, starts, stops))
        idf = np.log1p((len(self) - held + 0.5) / (held + 0.5)) * repeated
        rows, weights = [], []
        for segment, starts, stops in slices:
            for i in np.flatnonzero(stops > starts):
                part = slice(starts[i], stops[i])
                own, count = segment.rows[part], segment.counts[part].astype(np.float32)
                rows.append(own)
                weights.append(idf[i] * (count / (count + hold[own])))
        if not rows:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        total = np.bincount(np.concatenate(rows), np.concatenate(weights), minlength=self.next_row)
        sums: NDArray[np.float32] = total.astype(np.float32)  # (next_row,)
        if self._gone:
            sums[~self._alive] = 0
        best = np.flatnonzero(sums)
        if len(best) > k:
            floor = np.partition(sums[best], len(best) - k)[len(best) - k]
            above, tied = best[sums[best] > floor], best[sums[best] == floor]
            best = np.sort(np.concatenate([above, tied[: k - len(above)]]))
        return best.astype(np.int64), sums[best]

    def _all(self) -> RowWords:
        """Words of all rows by number; those of dead ones as they were, or empty."""
        if len(self._parts) != 1:
            self._parts = [RowWords.concat(self._parts)]
        return self._parts[0]

    def _join(self) -> None:
        """One segment of the live rows; dead rows lose their words."""
        every = self._all()
        if self._gone:
            sizes = np.where(self._alive, np.diff(every.indptr), 0)
            kept = every.take(self._alive)
            every = RowWords(
                np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), kept.terms, kept.counts
            )
            self._parts = [every]
        self._segments = [_Segment.of(every, 0)]
        self._gone = 0


class _Segment:
    """Postings of some rows."""

    def __init__(
        self,
        terms: NDArray[np.uint32],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        counts: NDArray[np.uint8],
        numbered: range,
    ) -> None:
        self.first, self.stop = numbered.start, numbered.stop  # its rows lie in between
        self.terms = terms  # (v,) ascending
        self.starts = starts  # (v + 1,)
        self.rows = rows  # (p,)
        self.counts = counts  # (p,)
        self.dead: NDArray[np.int64] | None = None  # (v,) dead rows among those of each term

    @classmethod
    def of(cls, words: RowWords, first: int) -> _Segment:
        """Of rows that are numbered from `first`."""
        order = np.argsort(words.terms, kind="stable")
        own = np.repeat(np.arange(first, first + len(words), dtype=np.int32), np.diff(words.indptr))
        terms, starts = np.unique(words.terms[order], return_index=True)
        return cls(
            terms,
            np.append(starts, len(order)).astype(np.int64),
            own[order],
            words.counts[order],
            range(first, first + len(words)),
        )

    @property
    def nbytes(self) -> int:
        arrays: Sequence[NDArray[Any]] = (self.terms, self.starts, self.rows, self.counts)
        return sum(int(array.nbytes) for array in arrays)

    def find(
        self, terms: NDArray[np.uint32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Where the postings of terms begin and end, and how many of them are dead."""
        if len(self.terms) == 0:
            none = np.zeros(len(terms), dtype=np.int64)
            return none, none, none
        at = self.terms.searchsorted(terms).clip(max=len(self.terms) - 1)
        known = self.terms[at] == terms
        dead = self.dead[at] if self.dead is not None else np.zeros(len(at), dtype=np.int64)
        return (
            np.where(known, self.starts[at], 0),
            np.where(known, self.starts[at + 1], 0),
            np.where(known, dead, 0),
        )

    def forget(self, terms: NDArray[np.uint32]) -> None:
        """Note that rows are gone that hold these terms, each named once for each row."""
        if len(terms):
            at = self.terms.searchsorted(terms)
            more = np.bincount(at, minlength=len(self.terms))
            self.dead = more if self.dead is None else self.dead + more
