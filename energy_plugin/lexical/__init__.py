"""Texts → words of rows: an incremental BM25 index whose rows pack into columns of a host."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.lexical.index import LexicalIndex as LexicalIndex
    from energy_plugin.lexical.rows import RowWords as RowWords
    from energy_plugin.lexical.tokens import Tokenizer as Tokenizer

_HOMES = {"LexicalIndex": "index", "RowWords": "rows", "Tokenizer": "tokens"}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names are literal above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
