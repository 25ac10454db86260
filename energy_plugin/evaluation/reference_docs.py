"""The documentation that every Python installation carries, as a corpus of real documents.

Sources are parsed, not imported, so that collecting runs no code of the packages. Only the
standard library's own compiled modules, which have no source, are imported and inspected.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib
import importlib.util
import inspect
import platform
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tqdm.auto import tqdm

from energy_plugin import __version__
from energy_plugin.evaluation.docstrings import normalised, prose

# Taken after the standard library, if installed, in equal shares.
PACKAGES = ("numpy", "pandas", "scipy", "PIL", "pyarrow", "torch", "matplotlib", "polars")

_DISTRIBUTIONS = {"PIL": "pillow"}
PIP_NAMES = tuple(_DISTRIBUTIONS.get(package, package) for package in PACKAGES)

FEWEST = 5000  # documents: the standard library of CPython 3.11 alone has more

# Modules of the standard library with parts written in C; importing them does nothing else.
_COMPILED = (
    *("builtins", "array", "atexit", "binascii", "bisect", "bz2", "cmath", "collections"),
    *("contextvars", "csv", "datetime", "decimal", "errno", "functools", "gc", "hashlib"),
    *("heapq", "io", "itertools", "json", "lzma", "marshal", "math", "mmap", "operator", "os"),
    *("pickle", "queue", "random", "re", "select", "signal", "socket", "sqlite3", "ssl"),
    *("statistics", "string", "struct", "sys", "threading", "time", "tracemalloc"),
    *("unicodedata", "weakref", "zlib"),
)
_OS = ("posix", "nt", "_thread", None)  # where os and threading keep what is compiled
_SKIPPED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "testing", "idlelib", "lib2to3"}
    | {"turtledemo", "ensurepip", "conftest.py", "setup.py", "pydoc_data", "_vendor", "third_party"}
)


@dataclass(frozen=True)
class ReferenceDoc:
    """One documented object.

    Attributes
    ----------
    name : str
        Qualified name, for example ``csv.DictReader``.
    text : str
        Name and the first paragraphs of the description.
    kind : str
        ``module``, ``class``, ``function``, ``method`` or ``topic``.
    module, package : str
        Where it is defined; the package is ``python`` for the standard library.
    """

    name: str
    text: str
    kind: str
    module: str
    package: str


def collect(limit: int = 6000, *, show_progress_bar: bool = False) -> list[ReferenceDoc]:
    """Collect at most `limit` documents, the same on every run of one installation.

    The standard library comes first; what is left of `limit` is shared among `PACKAGES`.
    Objects with the same description are taken once.
    """
    seen: set[str] = set()
    names: set[str] = set()

    def fresh(docs: Iterable[ReferenceDoc]) -> list[ReferenceDoc]:
        kept = []
        for doc in docs:
            key = normalised(doc.text.partition(" — ")[2])
            if key not in seen and doc.name not in names:
                seen.add(key)
                names.add(doc.name)
                kept.append(doc)
        return kept

    folders = [("python", Path(sysconfig.get_paths()["stdlib"])), *_installed()]
    found: list[ReferenceDoc] = []
    with tqdm(total=limit, desc="collecting", unit="doc", disable=not show_progress_bar) as bar:
        for place, (package, folder) in enumerate(folders):
            left = limit - len(found)
            share = left if package == "python" else left // (len(folders) - place)
            start = len(found)
            for docs in _batches(package, folder):
                if len(found) - start >= share:
                    break
                new = fresh(docs)[: start + share - len(found)]
                found.extend(new)
                bar.update(len(new))
    return found


def _installed() -> list[tuple[str, Path]]:
    """Give those of `PACKAGES` that are installed, with their folders."""
    specs = ((package, importlib.util.find_spec(package)) for package in PACKAGES)
    return [(name, Path(spec.origin).parent) for name, spec in specs if spec and spec.origin]


def _batches(package: str, folder: Path) -> Iterator[Iterable[ReferenceDoc]]:
    """Give the documents of a package, file by file, what a user meets first first."""
    if package == "python":
        yield from (_parsed(path, folder, package) for path in _sources(folder))
        yield _compiled()
        yield _topics(folder)
        return
    files = sorted(_sources(folder), key=_publicity)
    yield from (_parsed(path, folder.parent, package) for path in files)


def describe_source(limit: int) -> str:
    """Name what `collect` reads and with what: interpreter, packages and their versions."""
    found = [
        f"limit {limit}",
        f"energy-plugin {__version__}",
        f"python {platform.python_version()}",
    ]
    for package, distribution in zip(PACKAGES, PIP_NAMES, strict=True):
        try:
            found.append(f"{package} {version(distribution)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def corpus_hash(docs: Iterable[ReferenceDoc]) -> str:
    """Give a short hash of names and texts: tells whether two corpora are the same."""
    digest = hashlib.sha256()
    for doc in docs:
        digest.update(f"{doc.name}\0{doc.text}\0".encode())
    return digest.hexdigest()[:16]


def _publicity(path: Path) -> tuple[int, int, str]:
    """Sort key: public before private, shallow before deep."""
    private = sum(part.startswith("_") and part != "__init__.py" for part in path.parts)
    return private, len(path.parts), str(path)


def _sources(folder: Path) -> Iterator[Path]:
    """Give the source files below a folder, in a fixed order; tests and the like are left out."""
    for path in sorted(folder.iterdir()):
        if path.name in _SKIPPED:
            continue
        if path.suffix == ".py":
            yield path
        elif path.is_dir():
            yield from _sources(path)


def _parsed(path: Path, root: Path, package: str) -> Iterator[ReferenceDoc]:
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    # The library's private modules only repeat in Python what is compiled elsewhere.
    if package == "python" and any(part.startswith("_") for part in parts):
        return
    tree = _tree(path)
    if tree is None:
        return
    module = ".".join(parts)
    yield from _document(module, ast.get_docstring(tree), "module", module, package)
    yield from _members(tree, module, "function", module, package)


def _tree(path: Path) -> ast.Module | None:
    """Syntax tree of a source file, None if it has none.

    The garbage collector rests meanwhile: where it lets another thread build a tree as well,
    CPython before 3.11.8 and 3.12.2 loses count of their depths (python/cpython#106905).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in other people's sources
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return None
    finally:
        if collects:
            gc.enable()


def _members(
    node: ast.Module | ast.ClassDef, prefix: str, kind: str, module: str, package: str
) -> Iterator[ReferenceDoc]:
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            name = f"{prefix}.{child.name}"
            is_class = isinstance(child, ast.ClassDef)
            docstring = ast.get_docstring(child)
            yield from _document(name, docstring, "class" if is_class else kind, module, package)
            if isinstance(child, ast.ClassDef):
                yield from _members(child, name, "method", module, package)


def _compiled() -> Iterator[ReferenceDoc]:
    for module in _COMPILED:
        try:
            members = vars(importlib.import_module(module))
        except ImportError:  # built without it
            continue
        for name, value in sorted(members.items()):
            documented = inspect.isroutine(value) or inspect.isclass(value)
            home = getattr(value, "__module__", None)
            if name.startswith("_") or not documented or home not in (module, f"_{module}", *_OS):
                continue
            kind = "class" if inspect.isclass(value) else "function"
            yield from _document(f"{module}.{name}", _doc(value), kind, module, "python")
            if inspect.isclass(value):
                for method, inner in sorted(vars(value).items()):
                    if not method.startswith("_") and callable(inner):
                        qualified = f"{module}.{name}.{method}"
                        yield from _document(qualified, _doc(inner), "method", module, "python")


def _doc(value: object) -> str | None:
    doc = getattr(value, "__doc__", None)
    return doc if isinstance(doc, str) else None


def _topics(library: Path) -> Iterator[ReferenceDoc]:
    """Give the chapters of the language reference that ``help()`` shows."""
    tree = _tree(library / "pydoc_data" / "topics.py")
    if tree is None:
        return
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics = ast.literal_eval(node.value)
            for topic in sorted(topics):
                _, _, body = str(topics[topic]).partition("\n\n")  # behind the heading
                name = f"language.{topic}"
                yield from _document(name, body, "topic", "language reference", "python")


def _document(
    name: str, docstring: str | None, kind: str, module: str, package: str
) -> Iterator[ReferenceDoc]:
    description = prose(docstring, name) if docstring else ""
    if description:
        yield ReferenceDoc(name, f"{name} — {description}", kind, module, package)
