"""One step of a schedule: what a row keeps from an age on."""

from __future__ import annotations

from dataclasses import dataclass

from energy_plugin.optical.modes import as_mode


@dataclass(frozen=True)
class Step:
    """Fidelity from an age on.

    Attributes
    ----------
    age_days : float
        The step holds for rows of at least this age.
    mode : {"tiny", "small", "base", "large"}
        Page mode in which such a row is read.
    bits : {1, 2, 4, 8}
        Residual bits a dimension that such a row keeps.
    """

    age_days: float
    mode: str
    bits: int

    @property
    def tokens(self) -> int:
        """Vision tokens of a page, newlines and separator included."""
        return as_mode(self.mode).tokens()
