"""Imports of optional libraries, with the install line in the error."""

from __future__ import annotations

import importlib
from types import ModuleType

from energy_plugin.errors import OptionalDependencyError


def optional(module: str, extra: str | None = None) -> ModuleType:
    """Import `module`, or say what to install: an extra of this package or the library itself.

    Raises
    ------
    OptionalDependencyError
        The module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionalDependencyError(module, extra) from error
