"""The documentation: every code block runs, every command exists, Sphinx has nothing to say.

The Python blocks of a page run in order, in one namespace and one temporary folder, and so do
blocks that only the test sees::

    <!-- run
    table = open_something()
    -->

A page with ``<!-- slow -->`` is left to `make test-slow`. Blocks of ``bash`` are read: what they
name (extras, targets of make, commands and their options) has to exist.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
BLOCKS = re.compile(r"^```python\n(.*?)^```$|^<!-- run\n(.*?)^-->$", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCES = re.compile(r"^```(\S*).*?^```$", re.DOTALL | re.MULTILINE)
KINDS = {"python", "bash", "", "text", "json", "toml", "{toctree}", "{eval-rst}", "{include}"}
NEEDED = ("chromadb", "lancedb", "langchain_core", "llama_index", "haystack", "ray", "transformers")


def _name(page):
    return str(page.relative_to(ROOT))


def _marked(page):
    slow = "<!-- slow -->" in page.read_text("utf-8")
    return pytest.param(page, id=_name(page), marks=[pytest.mark.slow] if slow else [])


def _lines_before(text, at):
    return text.count("\n", 0, at) + 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, in which relative paths of Chroma mean new databases."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if "chromadb" in sys.modules:
        from chromadb.api.shared_system_client import SharedSystemClient

        SharedSystemClient.clear_system_cache()


@pytest.mark.parametrize(
    "page", [_marked(page) for page in PAGES if BLOCKS.search(page.read_text("utf-8"))]
)
def test_blocks_run(page, folder):
    text = page.read_text("utf-8")
    for module in NEEDED:
        if re.search(rf"^\s*(?:from|import) {module}\b", text, re.MULTILINE):
            pytest.importorskip(module)
    session = {"__name__": "docs"}
    for found in BLOCKS.finditer(text):
        # the lines of an error are those of the page
        code = "\n" * _lines_before(text, found.start()) + (found[1] or found[2])
        exec(compile(code, str(page), "exec", dont_inherit=True), session)


def _commands(text):
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def _extras():
    section = (ROOT / "pyproject.toml").read_text("utf-8")
    section = section.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_exist(page):
    from typer.main import get_command

    from energy_plugin.cli.app import app

    text = page.read_text("utf-8")
    cli = get_command(app)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for named in re.findall(r"(?:energy-plugin|\.)\[([\w, -]+)\]", text):
        assert {each.strip() for each in named.split(",")} <= _extras()
    for words in _commands(text):
        if words[0] == "make":
            for target in words[1:]:
                assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), target
        elif words[0].endswith("energy-plugin") and len(words) > 1 and words[1][0] != "-":
            command, at = cli, 1
            while hasattr(command, "list_commands"):
                name = words[at]
                command, at = command.get_command(None, name), at + 1
                assert command is not None, f"{words}: no command {name!r}"
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            given = {word.partition("=")[0] for word in words[at:] if word.startswith("-")}
            assert given <= {*known, "--help"}, f"{words}: {given - known}"
        elif words[0] == "python":
            script = ROOT / words[1]
            assert script.is_file() or (script / "__main__.py").is_file(), words[1]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_is_of_a_known_kind(page):
    """A block of another kind would be run by no test."""
    assert set(FENCES.findall(page.read_text("utf-8"))) <= KINDS


@pytest.mark.slow
def test_sphinx_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"),
            *("-D", "extensions=myst_parser,numpydoc,sphinx.ext.autodoc"),  # no pages of source
            *("-D", "html_theme=basic"),
            *("-d", tmp_path / "doctrees", DOCS, tmp_path / "html"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "html" / "index.html").is_file()
    reference = (tmp_path / "html" / "reference" / "energy.html").read_text("utf-8")
    assert "energy_plugin.energy.EnergyReranker.rerank" in reference


def test_figures_are_drawn_by_their_script(tmp_path):
    pytest.importorskip("matplotlib")
    run = subprocess.run(
        [sys.executable, str(DOCS / "figures.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    drawn = {path.name for path in tmp_path.iterdir()}
    concepts = (DOCS / "concepts.md").read_text("utf-8")
    assert drawn == set(re.findall(r"images/(\w+\.png)", concepts)) - {"page.png"}
    means = ast.literal_eval(run.stdout)
    assert means["energy"] > means["cosine"]  # what the page says of the picture
