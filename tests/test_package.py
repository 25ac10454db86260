"""The package as a whole: cheap to import, honest about its names."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import energy_plugin

_ROOT = Path(energy_plugin.__file__).parents[1]
_PARTS = {
    "energy": "energy_plugin/energy",
    "optical": "energy_plugin/optical",
    "forgetting": "energy_plugin/forgetting",
    "stored": "energy_plugin/stored",
    "lexical": "energy_plugin/lexical",
    "candidates": "energy_plugin/candidates",
    "evaluation": "energy_plugin/evaluation",
    "library": "energy_plugin/library",
    "mcp": "energy_plugin/mcp",
    "cli": "energy_plugin/cli",
    "chroma": "adapters/energy_chroma",
    "lancedb": "adapters/energy_lancedb",
    "langchain": "adapters/energy_langchain",
    "llamaindex": "adapters/energy_llamaindex",
    "haystack": "adapters/energy_haystack",
}
# What a part may import of the others; the modules beside them (errors and the like) all may.
_BELOW = {
    "energy": set(),
    "optical": set(),
    "forgetting": {"energy", "optical"},
    "lexical": {"energy"},
    "stored": {"energy", "forgetting", "lexical"},
    "candidates": {"energy", "stored"},
    "evaluation": {"energy", "optical", "forgetting", "lexical"},
    "chroma": {"energy", "optical", "stored", "lexical"},
    "lancedb": {"energy", "optical", "stored", "lexical"},
    "langchain": {"energy", "optical", "candidates", "lexical"},
    "llamaindex": {"energy", "optical", "candidates", "lexical"},
    "haystack": {"energy", "optical", "candidates", "lexical"},
    "library": {"energy", "optical", "forgetting", "evaluation", "chroma", "lancedb", "lexical"},
    "mcp": {"energy", "forgetting", "lexical", "library"},
    "cli": {
        "energy",
        "optical",
        "forgetting",
        "evaluation",
        "library",
        "mcp",
        "chroma",
        "lancedb",
        "lexical",
    },
    "shared": set(),
}
_HEAVY = ("torch", "PIL", "chromadb", "lancedb", "lance", "pyarrow", "pandas", "scipy.stats")


def _loaded_after(statement: str) -> list[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "statement",
    [
        "import energy_plugin",
        "import energy_plugin.errors, energy_plugin.energy, energy_plugin.optical",
        "import energy_plugin.evaluation, energy_plugin.forgetting, energy_plugin.candidates",
        "from energy_plugin.lexical import LexicalIndex",
        "from energy_plugin.cli.app import app",
    ],
)
def test_heavy_libraries_are_not_imported(statement):
    loaded = set(_loaded_after(statement))
    assert not loaded & set(_HEAVY)


def _part(module: str) -> str | None:
    """The part that a module belongs to, None for other people's and for what all may import."""
    package, _, name = module.rpartition(".")
    if package == "energy_plugin":
        module = energy_plugin._HOMES.get(name, module)
    return next(
        (
            part
            for part, folder in _PARTS.items()
            if f"{module}.".startswith(folder.removeprefix("adapters/").replace("/", ".") + ".")
        ),
        None,
    )


def _imported(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions and for type checkers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_parts_are_told_apart():
    assert _part("energy_plugin.energy.index.EnergyIndex") == "energy"
    assert _part("energy_plugin.EnergyIndex") == _part("energy_plugin.energy") == "energy"
    assert _part("energy_chroma") == "chroma"
    assert _part("energy_plugin.errors") is None
    assert _part("numpy") is None


@pytest.mark.parametrize("part", _BELOW)
def test_imports_point_downwards(part):
    files = (
        sorted((_ROOT / _PARTS[part]).rglob("*.py"))
        if part in _PARTS
        else [_ROOT / "energy_plugin" / f"{name}.py" for name in ("_lazy", "errors", "validation")]
    )
    assert files
    for path in files:
        known = {_part(module) for module in _imported(path)} - {None, part}
        assert known <= _BELOW[part], f"{path} imports of {sorted(known - _BELOW[part])}"


_DOORS = {"stored", "costs", "map_costs"}  # modules of an adapter that others may import


@pytest.mark.parametrize("part", ["cli", "library", "evaluation", "candidates"])
def test_only_adapters_know_their_insides(part):
    for path in sorted((_ROOT / _PARTS[part]).rglob("*.py")):
        for module in _imported(path):
            package, _, rest = module.partition(".")
            if _part(module) in {"chroma", "lancedb"}:
                names = importlib.import_module(package).__all__
                first = rest.partition(".")[0]
                assert not rest or first in {*names, *_DOORS}, f"{path} imports {module}"


@pytest.mark.parametrize("part", ["cli", "library"])
def test_private_names_stay_at_home(part):
    """`self._name` and `cls._name` are one's own; `other._name` is somebody else's."""
    for path in sorted((_ROOT / _PARTS[part]).rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner in {"self", "cls"}, f"{path}:{node.lineno}: .{node.attr}"
            if isinstance(node, ast.ImportFrom):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                own = {"_lazy"}  # shared by the whole package
                assert not [n for n in names if re.match(r"_[a-z]", n) and n not in own], path


def test_a_command_is_one_short_file():
    for path in sorted((_ROOT / "energy_plugin/cli").rglob("*.py")):
        assert len(path.read_text("utf-8").splitlines()) <= 180, path


@pytest.mark.parametrize(
    "module",
    ["energy_plugin", "energy_plugin.energy", "energy_plugin.optical", "energy_plugin.forgetting"],
)
def test_public_names_exist(module):
    home = importlib.import_module(module)
    assert len(home.__all__) == len(set(home.__all__))
    for name in home.__all__:
        assert getattr(home, name) is not None


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'EnergyFoo'"):
        energy_plugin.EnergyFoo  # noqa: B018


def test_every_error_is_ours():
    errors = importlib.import_module("energy_plugin.errors")
    own = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    for error in own:
        assert issubclass(error, errors.EnergyPluginError)


def test_a_missing_extra_names_its_install_line():
    from energy_plugin._lazy import optional

    with pytest.raises(ImportError, match=r"pip install .*ir-measures.*\[eval\]"):
        optional("energy_plugin_no_such_module", "eval")


def _circles(graph):
    """Strongly connected components of more than one module (Tarjan, 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = set()
            while node not in part:
                part.add(stack.pop())
            if len(part) > 1:
                found.append(frozenset(part))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_no_two_modules_import_each_other():
    """Imports inside functions and for type checkers count."""
    files = {}
    for top, folder in {"energy_plugin": _ROOT, "energy_": _ROOT / "adapters"}.items():
        for path in sorted(folder.glob(f"{top}*/**/*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in files.items():
        named = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= (inside & set(files)) or {node.module}
        graph[module] = (named & set(files)) - {module}
    assert len(graph) > 200
    in_circles = set().union(*_circles(graph))
    assert in_circles == set()
