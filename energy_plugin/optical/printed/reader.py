"""PrintReader: pictures of pages in, words out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.optical.printed import decoding, files
from energy_plugin.optical.printed.columns import columns
from energy_plugin.optical.printed.decoding import Characters
from energy_plugin.optical.printed.evening import even
from energy_plugin.optical.printed.letters import letters
from energy_plugin.optical.printed.lines import TextLine, lines
from energy_plugin.optical.printed.reading import Reading, Word
from energy_plugin.optical.printed.recogniser import (
    COLUMNS_AN_ANSWER,
    STRIP_ROWS,
    X_HEIGHT,
    Recogniser,
)
from energy_plugin.optical.printed.sheets import sheet
from energy_plugin.optical.printed.skew import skew
from energy_plugin.optical.printed.strips import PAPER, cut, cut_turned

if TYPE_CHECKING:
    from PIL.Image import Image

_WORKING_SIDE = 2400  # pixels: about 200 dots per inch of a sheet of paper
_SMALLEST = 7.0  # letter height in pixels below which the page is looked at in full
_BATCH_COLUMNS = 24_000
_LEAST_SURE = 0.72  # geometric mean of a line; less is not text but a picture
_SHORT, _SHORT_SURE = 4, 0.9  # characters of a line of which more is asked
_TEXT, _LEAST_SURE_AMONG_TEXT = 20, 0.6  # characters of a page that is text, and then asked less
_FEWEST = 3  # letters and digits of a page; fewer are a stain and not a text
_NEVER = 1e-6  # least probability
_STRAIGHT = 0.1  # degrees


class PrintReader:
    """Reads printed pages.

    Parameters
    ----------
    model : Recogniser
    device : torch.device
    """

    def __init__(self, model: Recogniser, device: torch.device) -> None:
        self.model, self.device = model.to(device), device

    @classmethod
    def bundled(cls, device: torch.device) -> PrintReader:
        """The recogniser of the package."""
        place = resources.files("energy_plugin.optical") / "assets" / files.NAME
        with resources.as_file(place) as path:
            return cls(files.load(Path(path)), device)

    def read(self, picture: Any, name: str = "image") -> Reading:
        """Read one picture of a page; a blank one has no words."""
        return self.read_sheet(sheet(picture, name))

    def read_sheet(self, page: Image) -> Reading:
        """Read a grey page that `sheet` made."""
        factor = -(-max(page.size) // _WORKING_SIDE)
        found = _Layout.of(page.reduce(factor) if factor > 1 else page)
        if factor > 1 and 0 < found.height < _SMALLEST:
            factor, found = 1, _Layout.of(page)
        read = self._recognised(found.strips())
        sure = [_sureness(characters) for characters in read]
        long = [
            _shown(one.text) >= _SHORT and how >= _LEAST_SURE
            for one, how in zip(read, sure, strict=True)
        ]
        plain = sum(_shown(one.text) for one, much in zip(read, long, strict=True) if much) >= _TEXT
        words: list[Word] = []
        count = 0
        for line, characters, how, much in zip(found.lines, read, sure, long, strict=True):
            if much or how >= (_LEAST_SURE_AMONG_TEXT if plain else _SHORT_SURE):
                here = _words(line, characters, count, found, factor)
                words += here
                count += bool(here)
        shown = "".join(word.text for word in words)
        scattered = not any(long) and 4 * count < len(found.lines)  # a picture
        if scattered or sum(map(str.isalnum, shown)) < _FEWEST:
            words = []
        return Reading(tuple(words), page.size, found.angle)

    @torch.inference_mode()
    def _recognised(self, strips: Sequence[NDArray[np.uint8]]) -> list[Characters]:
        order = sorted(range(len(strips)), key=lambda row: strips[row].shape[1])
        out: list[Characters | None] = [None] * len(strips)
        groups: list[list[int]] = []
        for row in order:
            width = strips[row].shape[1]
            full = groups and (len(groups[-1]) + 1) * width > _BATCH_COLUMNS
            wider = groups and width > 1.25 * strips[groups[-1][0]].shape[1] + 64
            if not groups or full or wider:
                groups.append([])
            groups[-1].append(row)
        for group in groups:
            widest = -(-strips[group[-1]].shape[1] // 32) * 32
            batch = np.zeros((len(group), STRIP_ROWS, widest), np.float32)
            for place, row in enumerate(group):
                batch[place, :, : strips[row].shape[1]] = strips[row]
            logits = self.model(torch.from_numpy(batch / 255).to(self.device)).float()
            answers = [strips[row].shape[1] // COLUMNS_AN_ANSWER for row in group]
            for row, characters in zip(group, decoding.best(logits, answers), strict=True):
                out[row] = characters
        return [each for each in out if each is not None]


class _Layout:
    """An evened page, how far it is turned, and its lines on the page turned straight."""

    def __init__(self, page: Image, angle: float, found: list[TextLine], height: float) -> None:
        self.page, self.angle, self.lines, self.height = page, angle, found, height

    @classmethod
    def of(cls, page: Image) -> _Layout:
        from PIL import Image as PilImage

        ink, evened = even(page)
        angle = skew(ink)
        if abs(angle) > _STRAIGHT:
            ink = np.asarray(PilImage.fromarray(ink).rotate(angle, fillcolor=0))
        else:
            angle = 0.0
        found = letters(ink)
        if found.rules is not None:
            ink, evened = _without(found.rules, ink, evened, angle)
        placed = [
            line
            for number, block in enumerate(columns(found))
            for line in lines(ink, block, number)
        ]
        return cls(evened, angle, placed, found.height)

    def strips(self) -> list[NDArray[np.uint8]]:
        """The lines, cut out at one size."""
        half = (
            self.page.reduce(2)
            if any(each.x_height > 2 * X_HEIGHT for each in self.lines)
            else None
        )
        out = []
        for each in self.lines:
            size = (each.left, each.right, each.baseline, each.x_height)
            if not self.angle:
                out.append(cut(self.page, *size))
            elif half is not None and each.x_height > 2 * X_HEIGHT:
                out.append(cut_turned(half, [side / 2 for side in size], self.angle))
            else:
                out.append(cut_turned(self.page, size, self.angle))
        return out

    def placed(
        self, left: float, top: float, right: float, bottom: float, factor: int
    ) -> tuple[float, float, float, float]:
        """A box of the straightened page on the picture, both upright."""
        if not self.angle:
            return (
                *(round(left * factor, 1), round(top * factor, 1)),
                *(round(right * factor, 1), round(bottom * factor, 1)),
            )
        turn = math.radians(self.angle)
        cos, sin = math.cos(turn), math.sin(turn)
        cx, cy = self.page.width / 2, self.page.height / 2
        corners = [
            (cx + cos * (x - cx) - sin * (y - cy), cy + sin * (x - cx) + cos * (y - cy))
            for x in (left, right)
            for y in (top, bottom)
        ]
        xs, ys = zip(*corners, strict=True)
        box = (min(xs), min(ys), max(xs), max(ys))
        left, top, right, bottom = (round(side * factor, 1) for side in box)
        return left, top, right, bottom


def _without(
    rules: NDArray[np.bool_], ink: NDArray[np.uint8], evened: Image, angle: float
) -> tuple[NDArray[np.uint8], Image]:
    """Straightened ink, and the evened page that is not, without rules and pictures."""
    from PIL import Image as PilImage
    from PIL import ImageFilter

    around = PilImage.fromarray(rules.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))
    ink = np.where(np.asarray(around) > 0, 0, ink).astype(np.uint8)
    evened = evened.copy()
    evened.paste(PAPER, (0, 0), around.rotate(-angle) if angle else around)
    return ink, evened


def _shown(text: str) -> int:
    return len(text) - text.count(" ")


def _sureness(characters: Characters) -> float:
    """Geometric mean of the probabilities of what is no space; 0 of nothing."""
    logs = [
        math.log(max(certainty, _NEVER))
        for certainty, character in zip(characters.certainties, characters.text, strict=True)
        if character != " "
    ]
    return math.exp(sum(logs) / len(logs)) if logs else 0.0


def _words(
    line: TextLine, characters: Characters, number: int, page: _Layout, factor: int
) -> list[Word]:
    """Words of a line, and where they stand."""
    logs = np.log(np.maximum(characters.certainties, _NEVER))
    scale = line.x_height / X_HEIGHT
    sums = np.concatenate([[0.0], np.cumsum(logs)]).tolist()
    out = []
    start = 0
    for piece in characters.text.split(" "):
        end = start + len(piece)
        if piece:
            first, last = characters.places[start], characters.places[end - 1]
            left = line.left + (first - 0.5) * COLUMNS_AN_ANSWER * scale
            right = line.left + (last + 0.5) * COLUMNS_AN_ANSWER * scale + 0.5 * line.x_height
            box = page.placed(
                left - 0.3 * line.x_height,
                line.baseline - 1.7 * line.x_height,
                right,
                line.baseline + 0.6 * line.x_height,
                factor,
            )
            out.append(
                Word(piece, box, math.exp((sums[end] - sums[start]) / (end - start)), number)
            )
        start = end + 1
    return out
