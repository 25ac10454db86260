"""LanceDB's client of REST catalogues, imported without its checks, which are made when used.

``import lancedb`` reads the generated client, whose 250 models and 370 validated methods pydantic
compiles: half of the time of the import. A command uses none of them. Inside that one import,
models are told to compile at their first use (``defer_build``, an option of pydantic), and so
are the validated methods.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

CLIENT = "lance_namespace_urllib3_client"


class Deferring(MetaPathFinder):
    """Finds the client once, for an import in which pydantic waits."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Give the spec of the client with an import of our own; None for other modules."""
        if fullname != CLIENT:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader = None if spec is None else spec.loader
        if loader is not None:
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with waiting():
                    run(module)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Let the client be found by `Deferring`, unless it is imported already."""
    if CLIENT not in sys.modules:
        sys.meta_path.insert(0, Deferring())


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Let models and methods that are made here compile their checks when they are used."""
    import pydantic

    settings, validate = pydantic.ConfigDict, pydantic.validate_call

    def later(**options: Any) -> Any:
        return settings(**{"defer_build": True, **options})

    replaced: Any = pydantic
    replaced.ConfigDict, replaced.validate_call = later, _deferred(validate)
    try:
        yield
    finally:
        replaced.ConfigDict, replaced.validate_call = settings, validate


def _deferred(validate: Callable[..., Any]) -> Callable[..., Any]:
    """``pydantic.validate_call`` that compiles the checks of a function at its first call."""

    def decorate(function: Any = None, /, **options: Any) -> Any:
        if function is None:
            return functools.partial(decorate, **options)
        checked = functools.cache(lambda: validate(function, **options))

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return checked()(*args, **kwargs)

        return call

    return decorate
