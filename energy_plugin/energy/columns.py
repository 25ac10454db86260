"""The four columns of a row: what the host database stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import ForeignFieldError, InvalidInputError

NO_CELL = -1  # the cell of a row without direction (all zeros)


@dataclass(frozen=True, eq=False)
class EnergyColumns:
    """Columns of n rows, in the rows' order.

    Parameters
    ----------
    lambda_ : ndarray of shape (n,), float32
        Taumode λ, 0 ≤ λ. Host column ``energy_lambda``.
    dispersion : ndarray of shape (n,), float32
        Dispersion G, 0 ≤ G ≤ 1. Host column ``energy_dispersion``.
    cell : ndarray of shape (n,), int32
        Voronoi cell, −1 for a row of zeros. Host column ``energy_cell``.
    residual : ndarray of shape (n, code_bytes), uint8
        Residual code, see `energy_plugin.energy.codec.codes`. Host column ``energy_residual``.
    field_id : str, optional
        `EnergyField.fingerprint` of the field of these columns, if known. Any other field raises
        an error for columns that carry it.

    Raises
    ------
    InvalidInputError
        The columns differ in length or have the wrong number of axes.
    """

    lambda_: NDArray[np.float32]
    dispersion: NDArray[np.float32]
    cell: NDArray[np.int32]
    residual: NDArray[np.uint8]
    field_id: str | None = None

    def __post_init__(self) -> None:
        wanted = (("lambda_", np.float32), ("dispersion", np.float32), ("cell", np.int32))
        for name, dtype in wanted:
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        object.__setattr__(self, "residual", np.ascontiguousarray(self.residual, dtype=np.uint8))
        shapes = [self.lambda_.shape, self.dispersion.shape, self.cell.shape]
        if self.residual.ndim != 2 or any(shape != self.residual.shape[:1] for shape in shapes):
            raise InvalidInputError(
                "Energy columns must be three arrays of shape (n,) and one of (n, code_bytes), "
                f"got {shapes} and {self.residual.shape}."
            )

    def __len__(self) -> int:
        return int(self.cell.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all rows; `nbytes / len` is bytes per row."""
        arrays = (self.lambda_, self.dispersion, self.cell, self.residual)
        return sum(int(array.nbytes) for array in arrays)

    def take(self, rows: Any) -> EnergyColumns:
        """Columns of some positions (integers, a mask or a slice), in that order."""
        return EnergyColumns(
            self.lambda_[rows],
            self.dispersion[rows],
            self.cell[rows],
            self.residual[rows],
            self.field_id,
        )

    @staticmethod
    def concat(parts: Sequence[EnergyColumns]) -> EnergyColumns:
        """Join columns of several blocks of rows.

        Raises
        ------
        InvalidInputError
            There are no parts, or the parts have different code lengths.
        ForeignFieldError
            Parts of different fields.
        """
        fields = {part.field_id for part in parts} - {None}
        if len(fields) > 1:
            raise ForeignFieldError(
                f"Columns to join belong to the fields {sorted(map(str, fields))}. "
                "Read all of one generation, or build again."
            )
        widths = {part.residual.shape[1] for part in parts}
        if len(widths) != 1:
            raise InvalidInputError(
                f"Columns to join must have one code length, got {sorted(widths)} bytes. "
                "Columns of different fields cannot be mixed."
            )
        return EnergyColumns(
            np.concatenate([part.lambda_ for part in parts]),
            np.concatenate([part.dispersion for part in parts]),
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.residual for part in parts]),
            *fields,
        )
