"""What a person at a terminal can do about an error: commands in place of Python calls."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from energy_plugin.errors import (
    CorruptFieldError,
    EnergyPluginError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)
from energy_plugin.library.stores.address import shown

NEWER = "A later release wrote it"  # in messages about format versions
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_CALL = re.compile(r"\w\(")


@contextmanager
def commands_as_remedies(path: Path, name: str | None) -> Iterator[None]:
    """Within it, our errors name a command of ``energy-plugin`` and not a call."""
    try:
        yield
    except InvalidInputError:
        raise
    except (NotBuiltError, CorruptFieldError, ForeignFieldError) as error:
        raise type(error)(explained(error, path, name)) from error
    except EnergyPluginError:
        raise


def explained(error: Exception, path: Path, name: str | None) -> str:
    """A message whose remedy is a command."""
    said = " ".join(str(error).split())
    if NEWER in said:
        return (
            said.partition(NEWER)[0].strip()
            + " A later release wrote it. Upgrade energy-plugin: pip install -U energy-plugin"
        )
    kept = [part for part in _SENTENCE.split(said) if not _CALL.search(part)]
    where = shlex.quote(shown(path)) + (f" --name {shlex.quote(name)}" if name else "")
    if isinstance(error, NotBuiltError):
        remedy = (
            f"Build it with: energy-plugin refit {where} (or run the index command again to its "
            "end), or search with: --ranking cosine"
        )
    elif isinstance(error, CorruptFieldError):
        remedy = f"Repair it with: energy-plugin verify {where} --repair"
    else:
        remedy = f"Fit a new field with: energy-plugin refit {where}"
    return " ".join([*kept, remedy])
