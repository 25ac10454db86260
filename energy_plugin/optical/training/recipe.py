"""What schedules of a training have in common: they are read from a JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run, each with a default."""

    KIND: ClassVar[str]  # what an error calls it
    BUNDLED: ClassVar[str]  # its file beside the module of the class

    @classmethod
    def bundled(cls) -> Self:
        """The settings of the bundled weights."""
        folder = resources.files(cls.__module__.rpartition(".")[0])
        with resources.as_file(folder / cls.BUNDLED) as path:
            return cls.from_file(path)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a JSON object with any of the fields.

        Raises
        ------
        InvalidInputError
            The file is not a JSON object, or names an unknown field.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InvalidInputError(
                f"{path} is not {cls.KIND}: {error}. Expected a JSON object with any of "
                f"{[field.name for field in fields(cls)]}"
            ) from error
