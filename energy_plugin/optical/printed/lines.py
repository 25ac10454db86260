"""Lines of a block of text: their ends, baselines and letter heights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.letters import Letters

_FAINT = 0.07  # of a strong row: rows with less ink part lines
_TALLEST = 3.4  # letter heights of a band that is one line
_TALL = 2.3  # the same, of the block's usual size
_LARGER = 1.5  # the same, of a common letter: a heading, and no figures or lines that touch
_ALIKE = (0.75, 1.22)  # of the usual letter height: the same size
_LEAST_ZONE = 0.38  # of a band; small letters take more of it in any typeface
_EVEN = 1.5  # rows inside to rows outside: figures and capitals are as dense everywhere


@dataclass(frozen=True)
class TextLine:
    """A piece of a line.

    Attributes
    ----------
    left, right, baseline, x_height : float
        Pixels of the straightened page.
    block : int
        Block that it belongs to.
    """

    left: float
    right: float
    baseline: float
    x_height: float
    block: int = 0


def lines(ink: NDArray[np.uint8], letters: Letters, block: int) -> list[TextLine]:
    """Lines of a block, from above.

    Parameters
    ----------
    ink : ndarray of shape (h, w), uint8
    letters : Letters
        Of the block.
    block : int
    """
    x0, x1 = int(letters.left.min()), int(letters.right.max())
    pad = int(letters.height)
    y0 = max(0, int(letters.top.min()) - pad)
    y1 = min(ink.shape[0], int(letters.bottom.max()) + pad)
    part = ink[y0:y1, x0:x1]
    profile = part.sum(axis=1, dtype=np.float64) / 255
    bands = _bands(profile, letters.height)
    measured = [(a, b, *_x_zone(profile[a:b])) for a, b in bands]
    if not measured:
        return []
    usual = _usual([(bottom - top) for _, _, top, bottom in measured], letters.height)
    out = []
    for a, b, top, bottom in measured:
        height, base = bottom - top, a + bottom
        if b - a < 0.4 * usual:
            continue
        heading = _letter_height(letters, y0 + a, y0 + b) > _LARGER * usual
        like = _ALIKE[0] * usual < height < _ALIKE[1] * usual
        several = b - a > _TALLEST * max(usual, 0.45 * height) and height > 1.6 * usual
        if several and not heading:
            bases = _baselines(profile[a:b], usual)
            found = [(a + each, usual) for each in bases]
        elif b - a < _TALL * usual and not (like or heading):
            found = [(a + _foot(profile[a:b], usual), usual)]
        else:
            found = [(base, usual if like else height)]
        for base_row, x_height in found:
            out += _pieces(part, base_row, x_height, (x0, y0), block)
    return out


def _bands(profile: NDArray[np.float64], height: float) -> list[tuple[int, int]]:
    """Runs of rows with ink; near ones that are too low to be lines go together."""
    strong = np.percentile(profile[profile > 0], 80) if (profile > 0).any() else 0.0
    inked = profile > max(_FAINT * strong, 0.5)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inked.astype(np.int8), [0]])))
    runs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    out: list[tuple[int, int]] = []
    for a, b in runs:
        low = out and min(b - a, out[-1][1] - out[-1][0]) < 0.6 * height
        most = max(2.6 * height, 1.5 * (out[-1][1] - out[-1][0])) if out else 0.0
        if low and a - out[-1][1] < 0.45 * height and b - out[-1][0] < most:
            out[-1] = (out[-1][0], b)
        else:
            out.append((a, b))
    return out


def _x_zone(
    profile: NDArray[np.float64], least: float = 0.0, most: float = np.inf
) -> tuple[int, int]:
    """Rows between the tops of small letters and the baseline: the densest run.

    The run that parts the rows of a band best into dense and thin ones (Otsu 1979, with two
    thresholds on the place instead of one on the value), of at least and at most so many rows.
    """
    count = len(profile)
    if count < 3:
        return 0, count
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    top, bottom = np.triu_indices(count + 1, 1)
    size = bottom - top
    kept = (size >= max(2, least, _LEAST_ZONE * count)) & (size <= most) & (size < count)
    if not kept.any():
        return 0, count
    top, bottom, size = top[kept], bottom[kept], size[kept]
    inside = (sums[bottom] - sums[top]) / size
    outside = (sums[-1] - (sums[bottom] - sums[top])) / (count - size)
    spread = np.square(inside - outside) * size * (count - size) * (inside > outside)
    best = int(np.argmax(spread))
    return int(top[best]), int(bottom[best])


def _foot(profile: NDArray[np.float64], usual: float) -> int:
    """Baseline of a band whose rows alone do not tell it, such as one of figures."""
    top, bottom = _x_zone(profile, 0.85 * usual, 1.15 * usual)
    inside = profile[top:bottom].mean()
    outside = np.delete(profile, slice(top, bottom))
    even = not len(outside) or inside < _EVEN * outside.mean()
    return len(profile) if even else bottom


def _letter_height(letters: Letters, top: int, bottom: int) -> float:
    """Height of a common letter between two rows of the page."""
    inside = (letters.top >= top - 1) & (letters.bottom <= bottom + 1)
    tall = (letters.bottom - letters.top)[inside]
    return float(np.median(tall)) if len(tall) else 0.0


def _usual(heights: list[int], letter: float) -> float:
    """Letter height of most lines of a block."""
    likely = [height for height in heights if 0.5 * letter <= height <= 1.7 * letter]
    return float(np.median(likely)) if likely else letter


def _baselines(profile: NDArray[np.float64], height: float) -> list[float]:
    """Baselines in a band of several lines: where dense rows stand between thin ones."""
    size = max(2, round(height))
    gap = max(1, round(0.45 * height))
    sums = np.concatenate([[0.0], np.cumsum(np.pad(profile, (size + gap, gap)))])
    top = np.arange(len(profile) + 1)  # baseline b: rows b - size to b are inside
    inside = (sums[top + size + gap] - sums[top + gap]) / size
    above = (sums[top + gap] - sums[top]) / gap
    below = (sums[top + size + 2 * gap] - sums[top + size + gap]) / gap
    score = inside - 0.5 * (above[: len(inside)] + below[: len(inside)])
    out: list[float] = []
    taken = np.zeros(len(score), bool)
    least = 0.35 * score.max()
    for place in np.argsort(-score):
        if score[place] < least:
            break
        if not taken[place]:
            out.append(float(place))
            taken[max(0, place - round(1.6 * height)) : place + round(1.6 * height) + 1] = True
    return sorted(out)


def _pieces(
    part: NDArray[np.uint8],
    baseline: float,
    x_height: float,
    corner: tuple[int, int],
    block: int,
) -> list[TextLine]:
    """Ends of a line, which falls to pieces at gaps as wide as four letters."""
    top, bottom = round(baseline - 1.3 * x_height), round(baseline + 0.15 * x_height)
    band = part[max(0, top) : max(bottom, 1)]
    inked = band.max(axis=0) > 110 if band.size else np.zeros(0, bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inked.astype(np.int8), [0]])))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return []
    breaks = np.flatnonzero(runs[1:, 0] - runs[:-1, 1] > 4.5 * x_height)
    out = []
    for group in np.split(runs, breaks + 1):
        left, right = float(group[0, 0]), float(group[-1, 1])
        if right - left >= 0.3 * x_height:
            pad = 0.6 * x_height
            out.append(
                TextLine(
                    corner[0] + left - pad,
                    corner[0] + right + pad,
                    corner[1] + baseline,
                    x_height,
                    block,
                )
            )
    return out
