"""Imports of optional libraries, with the install line in the error."""

from __future__ import annotations

import importlib
from types import ModuleType

from energy_plugin.errors import OptionalDependencyError


def optional(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of this package brings it.

    Raises
    ------
    OptionalDependencyError
        The module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionalDependencyError(module, extra) from error
