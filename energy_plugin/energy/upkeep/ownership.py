"""Whether stored columns belong to a field, and can be what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy_plugin.energy.codec import codes
from energy_plugin.energy.columns import NO_CELL, EnergyColumns
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import CorruptFieldError, ForeignFieldError

if TYPE_CHECKING:
    from energy_plugin.energy.field import EnergyField

LARGEST = 1.001  # λ and G, rounding included


def check_columns(field: EnergyField, columns: EnergyColumns) -> None:
    """Refuse columns that a search with this field would misread.

    Raises
    ------
    ForeignFieldError
        They carry the fingerprint of another field, or cells or codes that this one cannot have.
    CorruptFieldError
        A code, λ or G is altered.
    """
    if columns.field_id not in (None, field.fingerprint):
        raise ForeignFieldError(
            f"The columns belong to the field {columns.field_id}, this one is "
            f"{field.fingerprint}: rotation, metric or anchors differ. Read both of the same "
            "generation, or build again."
        )
    width, cells = columns.residual.shape[1], columns.cell
    fits = width in {codes.code_bytes(field.dim, bits) for bits in BIT_CHOICES}
    if not fits or (len(cells) and not NO_CELL <= cells.min() <= cells.max() < field.n_anchors):
        raise ForeignFieldError(
            f"Columns with codes of {width} bytes do not belong to this field of {field.dim} "
            f"dimensions and {field.n_anchors} cells. Read both of the same generation, or "
            "build again."
        )
    codes.check(columns.residual, field.dim)
    for name, values in (("λ", columns.lambda_), ("G", columns.dispersion)):
        wrong = int((~((values >= 0) & (values <= LARGEST))).sum())
        if wrong:
            raise CorruptFieldError(
                f"The {name} of {wrong} of {len(columns)} rows is not in [0, 1]. The column is "
                "altered: encode these rows again, or build again."
            )
