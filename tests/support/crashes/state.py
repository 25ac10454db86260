"""What a crash may leave: the rows, the answers and the generation of a store."""

import hashlib
import json
from dataclasses import asdict, dataclass

# Of distances that one field gives for the same codes.
EXACT = 1e-5
# The code of a row that comes after the fit is smoothed with the rows that are there by then, so
# that it depends on who came first. Measured: up to 0.0026; another field is off by 0.02 and more.
HISTORY = 0.01


def digest(*parts):
    """Of a row: its vector and all that the user wrote beside it."""
    whole = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        whole.update(text + b"\0")
    return whole.hexdigest()[:16]


@dataclass(frozen=True, repr=False)
class State:
    """A store as a new process sees it.

    Parameters
    ----------
    rows : dict
        Digest of each user row by its id.
    answers : list or None
        Of each query the ids and energy distances, nearest first; None without a field.
    generation : int
        Of the field; 0 without one.
    astray : list of str
        Rows that the verb writes and that a search for their own vector does not put first.
    """

    rows: dict
    answers: list | None
    generation: int
    astray: list

    def __repr__(self):
        return f"State({len(self.rows)} rows, generation {self.generation})"

    def to_json(self):
        return asdict(self)


def alike(some, others, tolerance=EXACT):
    """Whether two searches gave the same rows, up to the order of near ties."""
    if some is None or others is None:
        return some is others
    return all(_alike(one, other, tolerance) for one, other in zip(some, others, strict=True))


def _alike(one, other, tolerance):
    if len(one) != len(other):
        return False
    if any(abs(a[1] - b[1]) > tolerance for a, b in zip(one, other, strict=True)):
        return False
    last = min(one[-1][1], other[-1][1])
    distance = dict(map(tuple, other))
    for name, value in one:
        there = distance.get(name)
        # of rows as far as the last one, any may be left out
        if there is None and value < last - tolerance:
            return False
        if there is not None and abs(there - value) > tolerance:
            return False
    return True
