"""Text to page, page to vision tokens, tokens to an embedding.

The names are loaded when first used, so that importing the package costs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.optical.base import BaseEncoder as BaseEncoder
    from energy_plugin.optical.config import DeepEncoderConfig as DeepEncoderConfig
    from energy_plugin.optical.decoder import Decoded as Decoded
    from energy_plugin.optical.decoder import OpticalDecoder as OpticalDecoder
    from energy_plugin.optical.encoder import OpticalEncoder as OpticalEncoder
    from energy_plugin.optical.encoder import load_encoder as load_encoder
    from energy_plugin.optical.network.deepencoder import DeepEncoder as DeepEncoder
    from energy_plugin.optical.typesetting.tiles import TYPESETTER_VERSION as TYPESETTER_VERSION
    from energy_plugin.optical.typesetting.tiles import Page as Page
    from energy_plugin.optical.typesetting.tiles import Typesetter as Typesetter

_HOMES = {
    "BaseEncoder": "base",
    "TYPESETTER_VERSION": "typesetting.tiles",
    "Decoded": "decoder",
    "DeepEncoder": "network.deepencoder",
    "DeepEncoderConfig": "config",
    "OpticalDecoder": "decoder",
    "OpticalEncoder": "encoder",
    "Page": "typesetting.tiles",
    "Typesetter": "typesetting.tiles",
    "load_encoder": "encoder",
}

__all__ = [
    "TYPESETTER_VERSION",
    "BaseEncoder",
    "Decoded",
    "DeepEncoder",
    "DeepEncoderConfig",
    "OpticalDecoder",
    "OpticalEncoder",
    "Page",
    "Typesetter",
    "load_encoder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
