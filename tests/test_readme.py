"""Every Python example of the README runs, in order, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_README = Path(__file__).parents[1] / "README.md"
_EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$", _README.read_text("utf-8"), re.DOTALL | re.MULTILINE
)
_NEEDS = {"chromadb": "energy_chroma", "lancedb": "energy_lancedb"}


@pytest.mark.parametrize("example", _EXAMPLES, ids=["chroma", "lancedb", "vectors"])
def test_example_runs(example, tmp_path, monkeypatch, capsys):
    for module, name in _NEEDS.items():
        if name in example:
            pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec", dont_inherit=True), {"__name__": "readme"})
    assert capsys.readouterr().out.strip()
