"""What is built, what it needs, and what it says when something is missing."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from energy_plugin._lazy import optional
from energy_plugin.errors import OptionalDependencyError

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "energy_plugin": "energy_plugin",
    **{path.name: f"adapters/{path.name}" for path in sorted((ROOT / "adapters").glob("energy_*"))},
}
# `all` and `dev` are sums of others; what `docs` brings is no library that the package calls.
SUMS = {"all", "dev", "docs"}


def _extras():
    """Every extra with the names of its requirements, those of other extras included."""
    section = (ROOT / "pyproject.toml").read_text("utf-8")
    section = section.partition("[project.optional-dependencies]\n")[2].partition("\n\n")[0]
    found = {
        name: re.findall(r'"([^"]+)"', text)
        for name, text in re.findall(r"^([\w-]+) = \[(.*?)\]$", section, re.DOTALL | re.MULTILINE)
    }

    def flat(name):
        for each in found[name]:
            if each.startswith("energy-plugin["):
                for other in each.partition("[")[2].rstrip("]").split(","):
                    yield from flat(other)
            else:
                yield re.split(r"[\[<>=; ]", each)[0]

    return {name: set(flat(name)) for name in found}


def _calls():
    """Every ``optional(module, extra)`` of the sources, as (file, module, extra or None)."""
    for folder in ("energy_plugin", "adapters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "id", None) == "optional"
                    and all(isinstance(each, ast.Constant) for each in node.args)
                ):
                    module, extra, *_ = [*(each.value for each in node.args), None]
                    yield str(path.relative_to(ROOT)), module, extra


CALLS = list(_calls())


def _plain(name):
    return name.lower().replace("_", "-")


def _fresh(extra):
    """Whether the installed package lists the requirements of this checkout."""
    listed = importlib.metadata.requires("energy-plugin")
    found = {_plain(re.split(r"[\[<>=; ]", line)[0]) for line in listed if f"'{extra}'" in line}
    return found == {_plain(name) for name in _extras()[extra]}


@pytest.mark.parametrize(("where", "module", "extra"), CALLS)
def test_what_is_missing_names_an_install_line_that_brings_it(where, module, extra, monkeypatch):
    top = module.partition(".")[0]
    brought = {_plain(name) for name in importlib.metadata.packages_distributions().get(top, ())}
    if extra is not None:
        names = {_plain(name) for name in _extras()[extra]}
        assert brought & names or not brought, f"{where}: [{extra}] does not bring {module}"
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(OptionalDependencyError) as error:
        optional(module, extra)
    line = str(error.value).partition("Install it with: ")[2]
    if extra is None:
        assert line == f"pip install {top}"
    else:  # what was installed last may be of an older checkout
        named = {_plain(name) for name in re.findall(r'"([\w-]+)[^"]*"', line)}
        assert named == {_plain(name) for name in _extras()[extra]} or not _fresh(extra)
        assert line.endswith(f'pip install -e ".[{extra}]" in a checkout')


def test_every_extra_is_asked_for_somewhere():
    assert {extra for _, _, extra in CALLS if extra} == set(_extras()) - SUMS


@pytest.mark.parametrize(
    ("package", "library", "extra"),
    [
        ("energy_chroma", "chromadb", "chroma"),
        ("energy_lancedb", "lancedb", "lancedb"),
        ("energy_langchain", "langchain_core", "langchain"),
        ("energy_llamaindex", "llama_index", "llamaindex"),
        ("energy_haystack", "haystack", "haystack"),
        ("energy_plugin.cli.__main__", "typer", "cli"),
    ],
)
def test_an_adapter_without_its_library(package, library, extra):
    """In a process of its own, where the library cannot be found."""
    blocked = (
        "import sys\n"
        "class Nowhere:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == '{library}':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Nowhere())\n"
    )
    if extra == "cli":
        code = f"{blocked}from energy_plugin.cli import main\nmain()"
    else:
        code = f"{blocked}import {package}"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 1
    assert f'pip install -e ".[{extra}]"' in run.stderr.splitlines()[-1]


def test_importing_is_quick_and_light():
    """Under 0.3 s: 0.05 s were measured on two busy cores, of which numpy takes most."""
    code = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import energy_plugin\n"
        "print(time.perf_counter() - start, 'torch' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        for _ in range(5)
    ]
    printed = [run.stdout.split() for run in runs]
    assert {torch for _, torch in printed} == {"False"}
    assert min(float(seconds) for seconds, _ in printed) < 0.3


def _built(kind, folder):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    (path,) = folder.iterdir()
    return path


def _tracked():
    """Files of the repository, or all of them where git is not at hand."""
    run = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if run.returncode == 0:
        return {name for name in run.stdout.splitlines() if (ROOT / name).is_file()}
    files = (path for path in ROOT.rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path):
    names = set(zipfile.ZipFile(_built("wheel", tmp_path)).namelist())
    metadata = {name for name in names if ".dist-info/" in name}
    tracked = _tracked()
    expected = {
        f"{package}{name.removeprefix(folder)}"
        for package, folder in PACKAGES.items()
        for name in tracked
        if name.startswith(f"{folder}/")
    }
    assert names - metadata == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.endswith("licenses/LICENSE") for name in metadata)
    assert any(name.endswith("unifont.LICENSE") for name in metadata)


def test_the_sdist_holds_what_builds_tests_and_documents(tmp_path):
    with tarfile.open(_built("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = _tracked()
    for folder in ("energy_plugin", "adapters", "tests", "examples", "docs", ".ci"):
        assert {name for name in tracked if name.startswith(f"{folder}/")} <= names
    assert {
        "pyproject.toml",
        "Makefile",
        "constraints.txt",
        "README.md",
        "SECURITY.md",
        "LICENSE",
    } <= names
    assert not [name for name in names if "__pycache__" in name or "_build" in name]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_into_an_empty_environment(kind, tmp_path):
    """With the core's requirements alone: arrays work, hosts say what to install."""
    built = _built(kind, tmp_path / "dist")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True, timeout=300)
    python = tmp_path / "env" / "bin" / "python"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments):
        return subprocess.run(
            [str(python), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**alone, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")},
            timeout=300,
        )

    installed = run("-m", "pip", "install", "-q", "--disable-pip-version-check", str(built))
    assert installed.returncode == 0, installed.stderr
    listed = run("-m", "pip", "list", "--format", "freeze").stdout
    assert not re.search(r"^(chromadb|lancedb|typer|langchain|transformers)", listed, re.MULTILINE)
    code = (
        "import numpy as np\n"
        "from energy_plugin import EnergyIndex, OpticalEncoder\n"
        "from energy_plugin.energy import EnergyReranker\n"
        "encoder = OpticalEncoder.from_pretrained('compact')\n"
        "vectors = encoder.encode(['The wing stalls.', 'Bread rises.', 'A river slows down.'])\n"
        "print(EnergyIndex.fit(vectors).search(encoder.encode('rising bread'), k=1).ids)\n"
        "print(EnergyReranker().rerank(vectors[2], vectors, k=1).order)\n"
    )
    works = run("-c", code)
    assert works.returncode == 0, works.stderr
    assert works.stdout.split() == ["[[1]]", "[2]"]
    for package, extra in (("energy_chroma", "chroma"), ("energy_lancedb", "lancedb")):
        missing = run("-c", f"import {package}")
        assert f'pip install -e ".[{extra}]"' in missing.stderr
    command = run("-m", "energy_plugin", "--help")
    assert command.returncode == 1
    assert 'pip install -e ".[cli]"' in command.stderr
    assert len(command.stderr.splitlines()) == 1
