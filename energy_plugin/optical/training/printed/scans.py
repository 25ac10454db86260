"""A line of text set in a face, printed and scanned: what the recogniser learns from."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.strips import PAPER, cut
from energy_plugin.optical.training.printed.faces import Face, opened

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Setting:
    """How lines are set.

    Attributes
    ----------
    face : Face
    size : int
        Pixels of the scan.
    finer : int
        Set at this multiple and brought down, as a printer of higher resolution would.
    shaped : bool
        With kerning and ligatures.
    """

    face: Face
    size: int
    finer: int
    shaped: bool

    @classmethod
    def draw(cls, face: Face, rng: np.random.Generator) -> Setting:
        """At 12 to 42 px: 8 points at 100 dots per inch to 10 points at 300."""
        size = round(float(np.exp(rng.uniform(np.log(12), np.log(42)))))
        finer = 2 if rng.random() < 0.25 and size < 30 else 1
        return cls(face, size, finer, bool(rng.random() < 0.5))


def scanned(
    text: str, setting: Setting, around: tuple[str, str], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A strip that shows a text.

    Parameters
    ----------
    text : str
        One line, of the characters that the face shows.
    setting : Setting
    around : tuple of str
        The lines above and below, of which bits may show.
    rng : Generator

    Returns
    -------
    ndarray of shape (24, W), uint8
    """
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFilter

    face, size, finer = setting.face, setting.size, setting.finer
    font = opened(face.path, size * finer, setting.shaped)
    height = face.x_height * size
    if text.upper() == text and rng.random() < 0.6:  # what looks for small letters finds capitals
        height = face.cap_height * size
    margin = size
    width = int(font.getlength(text)) // finer + 2 * margin
    rows = round(3.2 * size)
    baseline = round(1.9 * size)
    page = PilImage.new("L", (width * finer, rows * finer), 255)
    draw = ImageDraw.Draw(page)
    draw.text((margin * finer, baseline * finer), text, font=font, fill=0, anchor="ls")
    if rng.random() < 0.35:
        pitch = size * rng.uniform(1.05, 1.4)
        for sign, other in zip((-1, 1), around, strict=True):
            place = (margin * finer, (baseline + sign * pitch) * finer)
            draw.text(place, other[: len(text)], font=font, fill=0, anchor="ls")
    if rng.random() < 0.03:
        under = baseline + 0.16 * size
        draw.line(
            (margin * finer, under * finer, (width - margin) * finer, under * finer),
            fill=0,
            width=max(1, round(0.05 * size * finer)),
        )
    weight = rng.random()
    if weight < 0.16 and size * finer > 17:
        kind = ImageFilter.MinFilter if weight < 0.08 else ImageFilter.MaxFilter
        page = PilImage.blend(page, page.filter(kind(3)), float(rng.uniform(0.3, 0.9)))
    if finer > 1:
        page = page.resize((width, rows), PilImage.Resampling.BOX)
    if rng.random() < 0.5:
        slope = float(rng.normal(0, 0.12))
        middle = (width / 2, float(baseline))
        page = page.rotate(slope, PilImage.Resampling.BICUBIC, center=middle, fillcolor=255)
    page = _scan(page, size, rng)
    stretch = float(np.exp(rng.normal(0, 0.07)))
    if abs(stretch - 1) > 0.02:
        page = page.resize((round(width * stretch), rows), PilImage.Resampling.BILINEAR)
    left = (margin - rng.uniform(0, 1.2) * height) * stretch
    right = (width - margin + rng.uniform(0, 1.2) * height) * stretch
    height *= float(np.exp(rng.normal(0, 0.08)))
    return cut(page, left, right, baseline + float(rng.normal(0, 0.07)) * height, height)


def _scan(page: Image, size: int, rng: np.random.Generator) -> Image:
    """Blur, paper, ink, uneven light, noise, specks and JPEG; clean prints stay clean."""
    from PIL import Image as PilImage
    from PIL import ImageFilter

    grade = rng.random()  # clean, good, bad
    if grade < 0.25:
        return page.point([round(value * PAPER / 255) for value in range(256)])
    bad = grade > 0.6
    blur = rng.uniform(0, 0.03 if not bad else 0.055) * size
    page = page.filter(ImageFilter.GaussianBlur(float(blur)))
    ink = np.asarray(page, np.float32) / 255
    dark = rng.uniform(0, 90 if bad else 50)
    if rng.random() < 0.05:
        dark = rng.uniform(90, 170)  # grey type
    grey = dark + (PAPER - dark) * ink
    if bad and rng.random() < 0.5:
        grey -= rng.uniform(-25, 25) * np.linspace(-0.5, 0.5, grey.shape[1], dtype=np.float32)
    noise = rng.uniform(0, 14 if bad else 6)
    grey += rng.standard_normal(grey.shape, np.float32) * np.float32(noise)
    if bad and rng.random() < 0.4:
        specks = rng.random(grey.shape) < rng.uniform(0, 0.0015)
        grey[specks] = rng.uniform(0, 120, specks.sum())
    page = PilImage.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        file = io.BytesIO()
        quality = int(rng.integers(25, 60) if bad else rng.integers(50, 92))
        page.save(file, "JPEG", quality=quality)
        page = PilImage.open(file).convert("L")
    return page
