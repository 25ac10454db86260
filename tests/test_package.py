"""The package as a whole: cheap to import, honest about its names."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import energy_plugin

_HEAVY = ("torch", "PIL", "chromadb", "lancedb", "lance", "pyarrow", "pandas", "scipy.stats")


def _loaded_after(statement: str) -> list[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "statement",
    [
        "import energy_plugin",
        "import energy_plugin.errors, energy_plugin.energy, energy_plugin.optical",
        "import energy_plugin.evaluation",
        "from energy_plugin.cli.app import app",
    ],
)
def test_heavy_libraries_are_not_imported(statement):
    loaded = set(_loaded_after(statement))
    assert not loaded & set(_HEAVY)


@pytest.mark.parametrize(
    "module", ["energy_plugin", "energy_plugin.energy", "energy_plugin.optical"]
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

    with pytest.raises(ImportError, match=r'pip install "energy-plugin\[eval\]"'):
        optional("energy_plugin_no_such_module", "eval")
