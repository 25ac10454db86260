"""Strips: text lines cut out of a page, all at one size, paper 0 and ink 255."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.recogniser import (
    BASELINE,
    COLUMNS_A_FRAME,
    STRIP_ROWS,
    X_HEIGHT,
)

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER = 230  # grey of paper on an evened page; noise on either side of it is kept


def cut(
    page: Image, left: float, right: float, baseline: float, x_height: float
) -> NDArray[np.uint8]:
    """Cut a line out of an evened page and bring it to the size of a strip.

    Parameters
    ----------
    page : Image
        Grey, dark on light, paper near `PAPER`.
    left, right : float
        Ends of the line in pixels.
    baseline, x_height : float
        Foot of the letters without descender, and their height, in pixels.

    Returns
    -------
    ndarray of shape (24, W), uint8
        W is a multiple of 4. What lies outside the page is paper.
    """
    from PIL import Image as PilImage

    scale = x_height / X_HEIGHT
    top, bottom = baseline - BASELINE * scale, baseline + (STRIP_ROWS - BASELINE) * scale
    width = max(1, round((right - left) / scale / COLUMNS_A_FRAME)) * COLUMNS_A_FRAME
    box = (left, top, left + width * scale, bottom)
    if box[0] < 0 or box[1] < 0 or box[2] > page.width or box[3] > page.height:
        corners = np.floor(box[:2]), np.ceil(box[2:])
        outer = (*map(int, corners[0]), *map(int, corners[1] + 1))
        wide = PilImage.new("L", (outer[2] - outer[0], outer[3] - outer[1]), PAPER)
        inner = (
            max(outer[0], 0),
            max(outer[1], 0),
            min(outer[2], page.width),
            min(outer[3], page.height),
        )
        if inner[0] < inner[2] and inner[1] < inner[3]:
            wide.paste(page.crop(inner), (inner[0] - outer[0], inner[1] - outer[1]))
        box = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
        page = wide
    found = page.resize((width, STRIP_ROWS), PilImage.Resampling.BILINEAR, box=box)
    return evened(np.asarray(found))


def cut_turned(page: Image, line: Sequence[float], angle: float) -> NDArray[np.uint8]:
    """Cut a line out of an evened page whose lines fall to the right by an angle.

    Parameters
    ----------
    page : Image
        As in `cut`.
    line : sequence of float
        `left`, `right`, `baseline` and `x_height` of `cut`, on the page turned straight about
        its middle.
    angle : float
        Degrees.
    """
    from PIL import Image as PilImage

    left, right, baseline, x_height = line
    scale = x_height / X_HEIGHT
    width = max(1, round((right - left) / scale / COLUMNS_A_FRAME)) * COLUMNS_A_FRAME
    turn = math.radians(angle)
    cos, sin = math.cos(turn), math.sin(turn)
    cx, cy = page.width / 2, page.height / 2
    x, y = left - cx, baseline - BASELINE * scale - cy
    found = page.transform(
        (width, STRIP_ROWS),
        PilImage.Transform.AFFINE,
        (
            *(cos * scale, -sin * scale, cx + cos * x - sin * y),
            *(sin * scale, cos * scale, cy + sin * x + cos * y),
        ),
        PilImage.Resampling.BILINEAR,
        fillcolor=PAPER,
    )
    return evened(np.asarray(found))


def evened(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey levels of a strip to ink: the median is paper, its darkest 2 % are ink."""
    levels = np.bincount(grey.ravel(), minlength=256).cumsum()
    paper = int(np.searchsorted(levels, levels[-1] * 0.5))
    ink = int(np.searchsorted(levels, levels[-1] * 0.02))
    scale = 255 / max(paper - ink, 24)
    table = np.clip((paper - np.arange(256)) * scale, 0, 255).astype(np.uint8)
    return table[grey]
