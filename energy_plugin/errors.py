"""The exceptions of the project: one small tree.

::

    EnergyPluginError
    ├── InvalidInputError (ValueError)        an argument has the wrong type, shape or value
    │   └── UnreadablePageError               a picture is blank or shows no text that can be read
    ├── NotBuiltError (RuntimeError)          the energy field of a collection does not exist yet
    ├── ForeignFieldError (RuntimeError)      the stored field belongs to another embedder or table
    ├── CorruptFieldError (RuntimeError)      stored bytes fail their checksum or format version
    ├── HostWriteError (RuntimeError)         the database did not take what was to be stored
    ├── CheckpointError (RuntimeError)        encoder weights are missing, misshapen or incomplete
    ├── DeviceMemoryError (RuntimeError)      one page alone does not fit the device's memory
    └── OptionalDependencyError (ImportError) an extra of the package is not installed

A message says what is wrong, what was got, what was expected and what to do.
"""

from __future__ import annotations

import re


class EnergyPluginError(Exception):
    """Base of every error that this project raises on purpose."""


class InvalidInputError(EnergyPluginError, ValueError):
    """An argument has the wrong type, shape or value."""


class UnreadablePageError(InvalidInputError):
    """A picture of a page is blank, or shows no text that can be read."""


class NotBuiltError(EnergyPluginError, RuntimeError):
    """A collection is searched before its energy field was built."""


class ForeignFieldError(EnergyPluginError, RuntimeError):
    """A stored field belongs to another embedder, collection or dimension."""


class CorruptFieldError(EnergyPluginError, RuntimeError):
    """Stored bytes fail their checksum, or a format version is unknown."""


class HostWriteError(EnergyPluginError, RuntimeError):
    """The database did not take what was to be stored; what stood there before still does."""


class CheckpointError(EnergyPluginError, RuntimeError):
    """Encoder weights or the font are missing, misshapen or incomplete."""


class DeviceMemoryError(EnergyPluginError, RuntimeError):
    """The device runs out of memory even for the smallest batch."""


class OptionalDependencyError(EnergyPluginError, ImportError):
    """An extra of the package, or a library that no extra brings, is needed and not installed."""

    def __init__(self, module: str, extra: str | None = None) -> None:
        lines = [f"pip install {' '.join(names)}"] if (names := _libraries(extra)) else []
        lines += [f'pip install -e ".[{extra}]" in a checkout'] if extra else []
        lines = lines or [f"pip install {module.partition('.')[0]}"]
        super().__init__(
            f"{module!r} is not installed and this call needs it. "
            f"Install it with: {', or '.join(lines)}"
        )


def _libraries(extra: str | None) -> list[str]:
    """Quoted requirements of an extra, as the installed package lists them."""
    from importlib import metadata

    try:
        listed = metadata.requires("energy-plugin") or [] if extra else []
    except metadata.PackageNotFoundError:  # its folder is on the path, nothing is installed
        return []
    requirements = [line.partition(";") for line in listed]
    return [
        f'"{name.strip()}"'
        for name, _, marker in requirements
        if extra in re.findall(r"extra == ['\"]([\w-]+)['\"]", marker)
        and not name.startswith("energy-plugin")
    ]
