"""Why a row is far from all others, in words."""

from __future__ import annotations

from collections import Counter

from energy_plugin.library.reports.topics import words_of

_FEW = 5  # words
_STRANGE = 0.4  # share of words that no other row has


def reason(text: str, nearest: float, typical: float, known: Counter[str]) -> str:
    """Say what sets a row apart.

    Parameters
    ----------
    text : str
    nearest, typical : float
        Cosine to its nearest row, and the median of the collection.
    known : Counter of str
        Rows that have each word, this one included.
    """
    count = len(text.split())
    if count == 0:
        return "has no text"
    if count <= _FEW:
        return f"only {count} word{'s' if count > 1 else ''}"
    letters = sum(each.isalpha() or each.isspace() for each in text)
    if letters / len(text) < 0.6:
        return "mostly digits and symbols"
    words = words_of(text)
    alone = sorted(word for word in words if known[word] <= 1)
    if words and len(alone) / len(words) >= _STRANGE:
        named = ", ".join(alone[:4])
        return f"{len(alone)} of its {len(words)} words occur in no other row ({named})"
    return f"unlike the rest: nearest row at {nearest:.2f}, typical {typical:.2f}"
