"""Equality of numbers whose sums may have run in another order.

On one machine, with as many threads and the same block sizes, the same seed gives the same bytes.
Elsewhere a row whose two nearest anchors are equally near may take either: its λ and G are then
others, and only its. See "What is the same" in `docs/guarantees.md`.
"""

import numpy as np

ROWS_APART = 0.002  # share of rows that may take another anchor
ROUNDING = 1e-4


def alike_but_for_ties(got, wanted, rounding=ROUNDING):
    """Whether all values agree to `rounding`, but for .2 % of them or one."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    apart = np.count_nonzero(~(np.abs(got - wanted) <= rounding))
    return got.shape == wanted.shape and apart <= max(1, ROWS_APART * got.size)
