"""Where the tensors live, and in which block sizes they are worked on."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from energy_plugin.errors import InvalidInputError

BLOCK_VALUES = 1 << 23  # floats of a temporary block: 32 MiB
EPS = 1e-12


def pick_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best one there is: cuda, then mps, then cpu.

    Raises
    ------
    InvalidInputError
        torch does not know the device, or cannot use it on this machine.
    """
    if device is not None:
        try:
            asked = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise InvalidInputError(
                f"Unknown device {device!r}; expected 'cuda', 'mps' or 'cpu'."
            ) from error
        try:
            torch.zeros(1, device=asked).cpu()
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidInputError(
                f"Device {device!r} is not available on this machine ({reason}). "
                "Leave device=None for the best one there is, or pass 'cpu'."
            ) from error
        return asked
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices over `count` rows such that rows × width stays near `BLOCK_VALUES`.

    No rows give one empty slice, so that results can be joined without a special case.
    """
    step = max(1, min(count, BLOCK_VALUES // max(1, width)))
    for start in range(0, max(1, count), step):
        yield slice(start, min(count, start + step))


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length one; a row of zeros stays zero."""  # (n, d) -> (n, d)
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(EPS)
