"""How much a run on a card measures, and how much the same run on a CPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Rows, pages and texts of a run.

    Parameters
    ----------
    equal : int
        Rows on which CPU and card have to agree.
    scanned : int
        Rows of the exhaustive ranking from 4-bit codes.
    fitted : int
        Rows of the fit.
    searched : int
        Queries of a batch.
    dim : int
    texts : int
        Of the compact encoder.
    mode : str
        Pages of the full encoder.
    pages : int
        Of one forward pass of the full encoder.
    full : bool
        The full encoder has its published sizes; else a few blocks.
    square : int
        Side of the matrices that give the card's rate.
    steps : int
        Of training.
    rounds : int
    """

    equal: int = 20_000
    scanned: int = 10_000_000
    fitted: int = 1_000_000
    searched: int = 10_000
    dim: int = 384
    texts: int = 4096
    mode: str = "base"
    pages: int = 8
    full: bool = True
    square: int = 8192
    steps: int = 30
    rounds: int = 5


TOY = Sizes(
    equal=400,
    scanned=600,
    fitted=500,
    searched=20,
    dim=48,
    texts=4,
    mode="tiny",
    pages=1,
    full=False,
    square=64,
    steps=1,
    rounds=1,
)
"""What runs on a CPU in seconds, so that every part stays able to run."""
