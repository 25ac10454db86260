"""Typefaces to train on: those of a folder that hold Latin letters, by family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError

_ENDINGS = (".ttf", ".otf", ".ttc")
_NEEDED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-()"
_ODD = re.compile(  # no letters as people print them
    r"math|symbol|keyboard|small ?caps|\bsc\b|\bcaps\b|titling|initials|dingbat|icon|emoji|music"
    r"|braille|unifur|penguin|d050000|hairline|thin\b|upright italic|dunhill|unslanted|3270"
    r"|junkyard|wargames|wasn't me|cupola|abogado|pilgi|dinaru|domestic|script|monoisome|caliban",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Face:
    """A face of a typeface.

    Attributes
    ----------
    path : str
    family : str
    glyphs : frozenset of str
        Characters that it shows.
    x_height, cap_height : float
        Shares of its size.
    """

    path: str
    family: str
    glyphs: frozenset[str]
    x_height: float
    cap_height: float


def found(folders: Iterable[Path], characters: str) -> list[Face]:
    """Faces with Latin letters in folders and below, in the order of their paths.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    folders = list(folders)
    paths = sorted(
        path for root in folders for path in root.rglob("*") if path.suffix.lower() in _ENDINGS
    )
    faces = [face for path in paths if (face := _face(path, characters)) is not None]
    if not faces:
        raise InvalidInputError(
            f"no Latin typeface in {[str(folder) for folder in folders]}, expected .ttf or .otf "
            "files; install some font packages"
        )
    return faces


def _face(path: Path, characters: str) -> Face | None:
    tables = optional("fontTools.ttLib", "train")
    try:
        with tables.TTFont(path, fontNumber=0, lazy=True) as file:
            names, shown = file["name"], file.getBestCmap() or {}
            family = names.getDebugName(16) or names.getDebugName(1) or path.stem
            style = names.getDebugName(17) or names.getDebugName(2) or ""
    except Exception:  # of many kinds: fonts of others are often damaged
        return None
    glyphs = frozenset(each for each in characters if ord(each) in shown)
    if not glyphs.issuperset(_NEEDED) or _ODD.search(f"{family} {style} {path.stem}"):
        return None
    font = opened(str(path), 200)
    small, capital = font.getbbox("x", anchor="ls"), font.getbbox("H", anchor="ls")
    if not 50 < -small[1] < 150 or -capital[1] < -small[1] * 1.1:
        return None
    return Face(str(path), family, glyphs, -small[1] / 200, -capital[1] / 200)


@lru_cache(maxsize=512)
def opened(path: str, size: int, shaped: bool = False) -> Any:
    """A face at a size in pixels, `shaped` with kerning and ligatures where Pillow can."""
    from PIL import ImageFont, features

    engine = ImageFont.Layout.RAQM if shaped and features.check("raqm") else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, size, layout_engine=engine)


def by_family(faces: Sequence[Face], held_out: Sequence[str]) -> tuple[list[list[Face]], ...]:
    """Faces by family: those to train on, and those whose family's name has a word held out."""
    families: dict[str, list[Face]] = {}
    for face in faces:
        families.setdefault(face.family, []).append(face)
    out = [any(word.lower() in family.lower() for word in held_out) for family in sorted(families)]
    groups = [families[family] for family in sorted(families)]
    return (
        [group for group, held in zip(groups, out, strict=True) if not held],
        [group for group, held in zip(groups, out, strict=True) if held],
    )
