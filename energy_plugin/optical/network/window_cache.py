"""Line tokens that one call has read already: text repeats its words.

Shapes: U distinct lines of a batch, M windows, E width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

LIMIT = 65_536  # windows: 100 MB of tokens
_SPAN = 1 << 20  # lines; three numbers of lines make one number of a window


class WindowCache:
    """Tokens of windows by what is seen on them, for the batches of one call.

    What comes after the first `limit` windows is read each time.

    Parameters
    ----------
    limit : int, default=65_536
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = min(limit, _SPAN)
        self._number_of: dict[bytes, int] = {}
        self._codes = torch.empty(0, dtype=torch.int64, device="cpu")  # ascending
        self._places = torch.empty(0, dtype=torch.int64, device="cpu")  # of each code in the tokens
        self._tokens: Tensor | None = None

    def __len__(self) -> int:
        return len(self._codes)

    def tokens(self, lines: Tensor, windows: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """Tokens of windows; only those not seen before are read.

        Parameters
        ----------
        lines : Tensor of shape (U, 16, 64), uint8
            Grey levels of the distinct lines of a batch.
        windows : Tensor of shape (M, 3), int64
            Distinct triples of them.
        read : callable
            Windows (m, 3) to tokens (m, E).

        Returns
        -------
        Tensor of shape (M, E)
        """
        before, here, after = self._numbers(lines)[windows].T
        codes = (before * _SPAN + here) * _SPAN + after
        codes = torch.where(torch.stack([before, here, after]).amin(0) < 0, -1, codes)
        self._codes, self._places = self._codes.to(codes.device), self._places.to(codes.device)
        if self._tokens is None:
            fresh = read(windows)
            self._keep(codes, fresh)
            return fresh
        spots = torch.searchsorted(self._codes, codes).clamp_max(len(self) - 1)
        known = self._codes[spots] == codes
        fresh = read(windows[~known])
        out = fresh.new_empty(len(windows), fresh.shape[1])
        out[~known] = fresh
        out[known] = self._tokens[self._places[spots[known]]]
        self._keep(codes[~known], fresh)
        return out

    def _numbers(self, lines: Tensor) -> Tensor:
        """Number of each line in this call, (U,); -1 where there are too many."""
        found = []
        for line in lines.cpu().numpy():
            name = hashlib.blake2b(line.tobytes(), digest_size=16).digest()
            number = self._number_of.get(name, -1)
            if number < 0 and len(self._number_of) < _SPAN:
                number = self._number_of[name] = len(self._number_of)
            found.append(number)
        return torch.tensor(found, dtype=torch.int64, device=lines.device)

    def _keep(self, codes: Tensor, tokens: Tensor) -> None:
        kept = (codes >= 0).nonzero()[:, 0][: self.limit - len(self)]
        if not len(kept):
            return
        if self._tokens is None:
            self._tokens = tokens.new_empty(0, tokens.shape[1])
        places = torch.arange(
            len(self), len(self) + len(kept), dtype=torch.int64, device=codes.device
        )
        self._tokens = torch.cat([self._tokens, tokens[kept]])
        self._codes, order = torch.cat([self._codes, codes[kept]]).sort()
        self._places = torch.cat([self._places, places])[order]
