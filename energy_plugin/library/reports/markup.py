"""Texts and pictures of rows as harmless HTML."""

from __future__ import annotations

import base64
import html
import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MOST = 280  # characters of a text


def safe(text: str, most: int = _MOST) -> str:
    """Text for HTML: on one line, cut, without control and direction characters, escaped."""
    flat = " ".join(_CONTROL.sub(" ", text).split())
    return html.escape(flat if len(flat) <= most else flat[: most - 1] + "…")


def thumbnail(image: bytes | None) -> str:
    """The picture of a page, empty where there is none."""
    if image is None:
        return ""
    data = base64.b64encode(image).decode("ascii")
    return f'<img class="page" alt="page" src="data:image/jpeg;base64,{data}">'


def figure(caption: str, image: bytes) -> str:
    """A plot with its caption."""
    data = base64.b64encode(image).decode("ascii")
    shown = safe(caption)
    return (
        f'<figure><img alt="{shown}" src="data:image/png;base64,{data}">'
        f"<figcaption>{shown}</figcaption></figure>"
    )
