"""Precision of the matrix products of an encoder."""

from __future__ import annotations

import torch

from energy_plugin.errors import InvalidInputError

AUTO = "auto"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def as_dtype(dtype: str, device: torch.device | str) -> str:
    """The precision that is meant, of `AUTO` the one that suits the device.

    Raises
    ------
    InvalidInputError
        There is no such precision.
    """
    if dtype == AUTO:
        return "bfloat16" if multiplies_bfloat16(device) else "float32"
    if dtype not in DTYPES:
        raise InvalidInputError(f"dtype is {dtype!r}, expected one of {[*sorted(DTYPES), AUTO]}")
    return dtype


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether a device has instructions for bfloat16 products, which take half the time.

    Processors without them emulate the products, in about twice the time of float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # newer releases have them
    return any(getattr(torch.cpu, name, bool)() for name in asked)
