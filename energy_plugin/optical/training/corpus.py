"""Training texts drawn from a folder of plain text files.

``*.txt`` and ``*.txt.gz`` hold one sentence, title or paragraph a line, and
neighbouring lines belong together; ``*.words`` hold one dictionary word a line.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from energy_plugin.errors import InvalidInputError

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
SHORT_CHARACTERS = 160


def read_corpus(path: Path) -> list[str]:
    """Lines of a ``.txt``, ``.txt.gz`` or ``.words`` file that hold anything.

    Raises
    ------
    InvalidInputError
        It cannot be read, is a damaged gzip file or not UTF-8.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInputError(
            f"{path} is not a complete gzip file ({error}); copy it again"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error}") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 ({error}); convert it first") from error
    return [line for line in text.split("\n") if line.strip()]


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0]


class Corpus:
    """Draws short texts, paragraphs and passages from every file of a folder.

    Parameters
    ----------
    folder : Path
    shares : mapping of str to float, optional
        Weight of each file, by its name without endings. Unless given, files are drawn by the
        square root of their size, so that none drowns the others.
    passage_characters : int, default=2000
        Longest passage.
    """

    def __init__(
        self,
        folder: Path,
        shares: Mapping[str, float] | None = None,
        passage_characters: int = 2000,
    ) -> None:
        paths = sorted([*folder.glob("*.txt"), *folder.glob("*.txt.gz")])
        if not paths:
            raise InvalidInputError(
                f"no *.txt or *.txt.gz in {folder}, expected training text, one passage per line"
            )
        self.sources = [read_corpus(path) for path in paths]
        self.dictionary = [w for path in sorted(folder.glob("*.words")) for w in read_corpus(path)]
        self.passage_characters = passage_characters
        self.names = [path.name.split(".")[0] for path in paths]
        sizes = np.sqrt([sum(map(len, lines)) for lines in self.sources])
        if shares is not None:
            if set(shares) != set(self.names):
                raise InvalidInputError(
                    f"the configuration has weights for {sorted(shares)}, but {folder} has "
                    f"{sorted(self.names)}; name the same files in both, or leave the weights out"
                )
            sizes = np.array([shares[name] for name in self.names], dtype=float)
        self._shares = sizes / sizes.sum()
        self.digest = self._digest()

    def _digest(self) -> str:
        """What was read, as 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for lines in [*self.sources, self.dictionary]:
            digest.update("\n".join(lines).encode())
            digest.update(b"\0")
        return digest.hexdigest()

    def words(self) -> Counter[str]:
        """Occurrences of every word; dictionary words count twice on top."""
        counter: Counter[str] = Counter()
        for lines in self.sources:
            for line in lines:
                counter.update(line.split())
        for word in self.dictionary:
            counter[word] += 2
        return counter

    def draw(self, n: int, *, short: float, seed: int) -> list[str]:
        """Draw texts with replacement.

        Parameters
        ----------
        n : int
            Texts to draw.
        short : float
            Share of short texts (sentences of at most 160 characters, and dictionary
            terms of one to three words); half of the others are single lines, half
            are runs of lines of up to `passage_characters`.
        seed : int
        """
        rng = np.random.default_rng(seed)
        return [self._text(rng, short) for _ in range(n)]

    def _text(self, rng: np.random.Generator, short: float) -> str:
        if rng.random() < short:
            text = self._short(rng)
        else:
            lines = self.sources[rng.choice(len(self.sources), p=self._shares)]
            row = int(rng.integers(len(lines)))
            text = lines[row]
            if rng.random() < 0.5:
                wanted = rng.integers(
                    min(250, self.passage_characters // 2), self.passage_characters
                )
                while len(text) < wanted and row + 1 < len(lines):
                    row += 1
                    text += " " + lines[row]
            text = _clipped(text, self.passage_characters)
        case = rng.random()
        return text.lower() if case < 0.1 else text.upper() if case < 0.12 else text

    def _short(self, rng: np.random.Generator) -> str:
        if self.dictionary and rng.random() < 0.08:
            chosen = rng.integers(len(self.dictionary), size=rng.integers(1, 4))
            return " ".join(self.dictionary[row] for row in chosen)
        lines = self.sources[rng.choice(len(self.sources), p=self._shares)]
        sentences = _SENTENCE_END.split(lines[rng.integers(len(lines))])
        return _clipped(sentences[rng.integers(len(sentences))], SHORT_CHARACTERS) or "empty"
