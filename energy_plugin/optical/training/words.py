"""First stage: images of lines to the teacher's input embeddings.

A line of a typeset word is mapped to the mean input embedding of the word's pieces.
These targets are dense and cheap: a table, no forward pass of the teacher.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.training.teacher import Teacher
from energy_plugin.optical.typeset import CONTINUATION, Typesetter


@dataclass(frozen=True)
class LineVocabulary:
    """Distinct lines of a corpus with their targets.

    Attributes
    ----------
    lines : list of str
    counts : ndarray of shape (n_lines,), float64
        Occurrences.
    targets : ndarray of shape (n_lines, 384), float32
        Mean input embedding of the words that a line comes from.
    """

    lines: list[str]
    counts: NDArray[np.float64]
    targets: NDArray[np.float32]


def _groups(lines: list[str]) -> list[list[str]]:
    """Split the lines of a word where it was broken after punctuation."""
    groups: list[list[str]] = []
    for line in lines:
        if groups and line.startswith(CONTINUATION) and len(line) > 1:
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _word_embeddings(words: list[str], teacher: Teacher) -> NDArray[np.float32]:
    """Mean input embedding of each word's pieces, punctuation left out where it can be."""
    table = teacher.piece_embeddings().cpu().numpy()
    vocabulary = teacher.tokenizer.get_vocab()
    wordy = np.zeros(len(table), bool)
    for piece, index in vocabulary.items():
        wordy[index] = any(c.isalnum() for c in piece)
    out = np.zeros((len(words), table.shape[1]), np.float32)
    for start in range(0, len(words), 65536):
        batch = teacher.tokenizer.encode_batch(
            words[start : start + 65536], add_special_tokens=False
        )
        for row, encoding in enumerate(batch, start):
            ids = np.array(encoding.ids, np.int64)
            kept = ids[wordy[ids]] if len(ids) else ids
            chosen = kept if len(kept) else ids
            if len(chosen):
                out[row] = table[chosen].mean(0)
    return out


def build_vocabulary(
    words: Counter[str], typesetter: Typesetter, teacher: Teacher, limit: int
) -> LineVocabulary:
    """Lines of the most frequent words, with their targets.

    Parameters
    ----------
    words : Counter of str
        Words (no white space) and their occurrences.
    limit : int
        Distinct words to keep.
    """
    groups: dict[str, tuple[list[str], int]] = {}
    for word, count in words.most_common(limit):
        for group in _groups(typesetter.words(word)[0]):
            text = group[0] + "".join(line[1:] for line in group[1:])
            held = groups.get(text)
            groups[text] = (group, count + (held[1] if held else 0))
    embeddings = _word_embeddings(list(groups), teacher)

    index: dict[str, int] = {}
    pairs = [
        (index.setdefault(line, len(index)), row, count)
        for row, (group, count) in enumerate(groups.values())
        for line in group
    ]
    targets = np.zeros((len(index), embeddings.shape[1]), np.float32)
    counts = np.zeros(len(index))
    for line, row, count in pairs:
        targets[line] += embeddings[row] * count
        counts[line] += count
    targets /= counts[:, None]
    return LineVocabulary(list(index), counts, targets)
