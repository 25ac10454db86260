"""Residual codes: nested bit planes of rows relative to their anchor.

Assumptions
-----------
The field's coordinates are randomly rotated (`rotation`), so that the d components of a
residual are close to independent draws of N(0, σ²), whatever the embedder does. One scalar
quantiser for N(0, 1) then serves every component of every row.

Notation
--------
========== ===================================================================
z, a_c     unit row in the rotated metric, anchor of its cell
r          z − a_c; ρ = ‖r‖; σ = ρ/√d
u          Φ(r_j / (σ√3)) ∈ (0, 1): the compander of Panter and Dite (1951), for which
           equal steps of u are asymptotically the best quantiser of a Gaussian
code       ⌊256·u⌋, 8 bits; its b highest bits are ⌊2^b·u⌋: planes are nested and
           dropping the lowest ones leaves the code of fewer bits
l          level: the mean of N(0, 1) inside the code's interval
κ          ρ² / (σ⟨r, l⟩), the row's correction
ẑ          a_c + σκ·l, the decoded row
========== ===================================================================

Stored bytes of a row, `code_bytes(d, bits)`
--------------------------------------------
================= =============================================================
bytes             meaning
================= =============================================================
1                 bits: planes that are in use (unused ones are zero behind them)
2                 σ, float16 little-endian
2                 κ, float16 little-endian
bits·⌈d/8⌉        planes, highest bit first, eight components a byte
================= =============================================================

384 dimensions: 53, 101, 197 or 389 bytes at 1, 2, 4 or 8 bits (float32: 1536).

Derivation of κ
---------------
An inner product with any query q is read as ⟨q, a_c⟩ + σκ⟨q, l⟩. Split q into its part along
r and the rest, which is unrelated to l − (⟨r, l⟩/ρ²)·r after a random rotation. So
E⟨q, l⟩ = ⟨q, r⟩⟨l, r⟩/ρ², and κ = ρ²/(σ⟨r, l⟩) makes the reading unbiased (the argument of
RaBitQ, Gao and Long 2024). When planes are dropped, r is unknown; the old levels are the
conditional mean of r/σ, so that ⟨r, l'⟩ ≈ σ⟨l, l'⟩ and κ' = d/⟨l, l'⟩, where d stands for
ρ²/σ².
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import blocks
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import CorruptFieldError, InvalidInputError

HEADER_BYTES = 5
DECODE_ROWS = 2048  # at a time, so that their places and levels stay in the cache
FEW_ROWS = 512  # below, the table of four components costs more than it saves
LONGEST = 3.0  # ‖residual‖ of a unit row and an anchor, rounding included
_SPREAD = 3**0.5


def code_bytes(dim: int, bits: int) -> int:
    """Bytes of a row."""
    return HEADER_BYTES + bits * plane_bytes(dim)


def plane_bytes(dim: int) -> int:
    """Bytes of one bit plane."""
    return -(-dim // 8)


@cache
def edges(bits: int) -> NDArray[np.float64]:
    """The 2^bits − 1 inner interval borders, in units of σ."""
    normal = NormalDist()
    return np.array([_SPREAD * normal.inv_cdf(j / 2**bits) for j in range(1, 2**bits)])


@cache
def levels(bits: int) -> NDArray[np.float32]:
    """The 2^bits levels: means of N(0, 1) inside the intervals, ascending."""
    normal = NormalDist()
    borders = edges(bits)
    cumulated = np.array([0.0, *(normal.cdf(b) for b in borders), 1.0])
    density = np.array([0.0, *(normal.pdf(b) for b in borders), 0.0])
    return (-np.diff(density) / np.diff(cumulated)).astype(np.float32)


def _half(values: torch.Tensor) -> NDArray[np.uint8]:
    """float16 bytes of (n,) values, little-endian; (n, 2)."""
    half = values.clamp(-65504, 65504).cpu().numpy().astype("<f2")
    return half.view(np.uint8).reshape(-1, 2)


def encode(residuals: torch.Tensor, bits: int) -> NDArray[np.uint8]:
    """Codes of residuals.

    Parameters
    ----------
    residuals : tensor of shape (n, d)
    bits : {1, 2, 4, 8}

    Returns
    -------
    ndarray of shape (n, code_bytes(d, bits)), uint8
    """
    n, dim = residuals.shape
    out = np.zeros((n, code_bytes(dim, bits)), dtype=np.uint8)
    out[:, 0] = bits
    table = torch.from_numpy(levels(bits)).to(residuals.device)
    borders = torch.from_numpy(edges(bits).astype(np.float32)).to(residuals.device)
    for part in blocks(n, dim):
        r = residuals[part]
        norm2 = r.square().sum(1)  # ρ²
        sigma = (norm2 / dim).sqrt()
        scaled = r / sigma.clamp_min(1e-20)[:, None]
        code = torch.bucketize(scaled, borders, right=True)  # (b, d)
        stored = sigma.half().to(sigma.dtype)  # κ makes up for the rounding of σ
        along = stored * (r * table[code]).sum(1)  # σ⟨r, l⟩
        kappa = torch.where(along > 0, norm2 / along.clamp_min(1e-30), torch.zeros_like(along))
        out[part, 1:3] = _half(sigma)
        out[part, 3:5] = _half(kappa)
        out[part, HEADER_BYTES:] = _pack(code.to(torch.uint8).cpu().numpy(), bits)
    return out


def _pack(code: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    planes = [np.packbits((code >> (bits - 1 - p)) & 1, axis=1) for p in range(bits)]
    return np.concatenate(planes, axis=1)


@cache
def _spread() -> NDArray[np.uint64]:
    """The bits of each byte as eight bytes, the highest first; (256,)."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return bits.view(np.uint64)[:, 0].copy()


def _unpack(planes: NDArray[np.uint8], bits: int, dim: int) -> NDArray[np.uint8]:
    planes = planes.reshape(len(planes), bits, -1)
    code = _spread().take(planes[:, 0])
    for p in range(1, bits):
        np.left_shift(code, np.uint64(1), out=code)
        code |= _spread().take(planes[:, p])
    return code.view(np.uint8)[:, :dim]


def stored_bits(codes: NDArray[np.uint8], dim: int) -> NDArray[np.uint8]:
    """Bits in use of each row; (n,).

    Raises
    ------
    CorruptFieldError
        A row names another number of planes than fits its bytes.
    """
    bits = codes[:, 0]
    room = (codes.shape[1] - HEADER_BYTES) // max(1, plane_bytes(dim))
    if not _possible(room)[bits].all():
        raise CorruptFieldError(
            f"Residual codes of {codes.shape[1]} bytes name {np.unique(bits).tolist()} bit planes; "
            f"{dim} dimensions leave room for {room}. The column is altered or belongs to "
            "another field: build again."
        )
    return bits


@cache
def _possible(room: int) -> NDArray[np.bool_]:
    """Which numbers of bit planes, 0 to 255, there are where `room` of them fit; (256,)."""
    return np.isin(np.arange(256), [bits for bits in BIT_CHOICES if bits <= room])


@cache
def _lookup(bits: int) -> torch.Tensor:
    """Levels of several components at once, by their planes side by side; float32.

    One bit: of the 8 components of a byte, (256, 8). Two and four: of the 4 components of half a
    byte, the highest plane first, (16^bits, 4). Eight: of one component, (256, 1).
    """
    table = torch.from_numpy(levels(bits))
    if bits == 8:
        return table[:, None]
    width = 8 if bits == 1 else 4
    index = torch.arange(2 ** (bits * width), dtype=torch.int64, device="cpu")
    code = torch.zeros(len(index), width, dtype=torch.int64, device="cpu")
    for plane in range(bits):
        part = index >> (width * (bits - 1 - plane))
        for j in range(width):
            code[:, j] = 2 * code[:, j] + ((part >> (width - 1 - j)) & 1)
    return table[code]


def _places(planes: NDArray[np.uint8], bits: int, dim: int) -> NDArray[np.int32]:
    """Where the components of each row stand in `_lookup`, in their order; flat."""
    if bits == 8:
        return _unpack(planes, bits, dim).astype(np.int32)
    planes = planes.reshape(len(planes), bits, -1)
    if bits == 1:
        return planes.astype(np.int32)
    halves = np.zeros((len(planes), planes.shape[2], 2), dtype=np.int32)
    for plane in range(bits):
        halves <<= 4
        halves[:, :, 0] |= planes[:, plane] >> 4
        halves[:, :, 1] |= planes[:, plane] & 15
    return halves


def check(codes: NDArray[np.uint8], dim: int) -> None:
    """Refuse codes that `encode` cannot have written, as far as their headers tell.

    Raises
    ------
    CorruptFieldError
        A row names another number of planes than fits its bytes, or a scale or correction that
        no unit row has: ρ is at most the length of a row and of an anchor, κ near d at most.
    """
    stored_bits(codes, dim)
    sigma, kappa = codes[:, 1:HEADER_BYTES].copy().view("<f2").astype(np.float32).T
    right = (sigma >= 0) & (sigma <= LONGEST / dim**0.5) & (kappa >= 0) & (kappa <= dim + 2)
    if not right.all():
        wrong = np.flatnonzero(~right)
        raise CorruptFieldError(
            f"The residual codes of {len(wrong)} of {len(codes)} rows (first: row {wrong[0]}) have "
            f"the scale {sigma[wrong[0]]:g} and the correction {kappa[wrong[0]]:g}; expected at "
            f"most {LONGEST / dim**0.5:g} and {dim + 2}. The column is altered or belongs to "
            "another field: encode these rows again, or build again."
        )


def decode(codes: NDArray[np.uint8], dim: int) -> NDArray[np.float32]:
    """Residuals that codes stand for; (n, d) float32."""
    out = np.zeros((len(codes), dim), dtype=np.float32)
    used = stored_bits(codes, dim)
    header = codes[:, 1:HEADER_BYTES].copy().view("<f2").astype(np.float32)
    factor = header[:, 0] * header[:, 1]
    kinds = np.unique(used).tolist()
    for bits in kinds:
        rows = np.flatnonzero(used == bits)
        for start in range(0, len(rows), DECODE_ROWS):
            part = rows[start : start + DECODE_ROWS]
            some = slice(part[0], part[-1] + 1) if len(kinds) == 1 else part
            planes = codes[some, HEADER_BYTES : HEADER_BYTES + bits * plane_bytes(dim)]
            if bits == 4 and len(part) <= FEW_ROWS:
                found = levels(bits).take(_unpack(planes, bits, dim))
                out[some] = np.multiply(found, factor[some, None], out=found)
                continue
            places = torch.from_numpy(_places(planes, bits, dim)).flatten()
            found = _lookup(bits).index_select(0, places).numpy().reshape(len(part), -1)
            np.multiply(found[:, :dim], factor[some, None], out=found[:, :dim])
            out[some] = found[:, :dim]
    return out


def lowered(codes: NDArray[np.uint8], dim: int, bits: int) -> NDArray[np.uint8]:
    """As `drop_planes`, in as many bytes as given: unused planes are zero."""
    few = drop_planes(codes, dim, bits)
    out = codes.copy()
    out[:, : few.shape[1]] = few
    out[:, few.shape[1] :] = 0
    return out


def squared_residuals(codes: NDArray[np.uint8], dim: int) -> NDArray[np.float32]:
    """ρ² of each row, from its header; (n,)."""
    sigma = codes[:, 1:3].copy().view("<f2")[:, 0].astype(np.float32)
    return dim * sigma * sigma


def drop_planes(codes: NDArray[np.uint8], dim: int, bits: int) -> NDArray[np.uint8]:
    """Codes of at most `bits` bits, in fewer bytes.

    Parameters
    ----------
    codes : ndarray of shape (n, code_bytes(dim, b)), uint8
    dim : int
    bits : {1, 2, 4, 8}
        Rows that have no more than that keep their planes.

    Returns
    -------
    ndarray of shape (n, min(code_bytes(dim, bits), given bytes)), uint8

    Raises
    ------
    InvalidInputError
        `bits` is not one of the choices.
    """
    if bits not in BIT_CHOICES:
        raise InvalidInputError(f"bits must be one of {BIT_CHOICES}, got {bits!r}.")
    used = stored_bits(codes, dim)
    out = codes[:, : min(codes.shape[1], code_bytes(dim, bits))].copy()
    for old in np.unique(used[used > bits]).tolist():
        rows = np.flatnonzero(used == old)
        for part in blocks(len(rows), dim):
            some = rows[part]
            planes = codes[some, HEADER_BYTES : HEADER_BYTES + old * plane_bytes(dim)]
            code = _unpack(planes, old, dim)
            shared = (levels(old)[code] * levels(bits)[code >> (old - bits)]).sum(1)  # ⟨l, l'⟩
            kappa = np.where(shared > 0, dim / np.maximum(shared, 1e-30), 0)
            kappa[codes[some, 1:3].max(1) == 0] = 0  # σ = 0: nothing to scale
            out[some, 3:5] = kappa.astype("<f2").view(np.uint8).reshape(-1, 2)
        out[rows, 0] = bits
    return out
