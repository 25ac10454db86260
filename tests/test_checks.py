"""The checks before a release: what the audit and the coverage say, and when they fail."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the audit; the entries have the shape of pip-audit 2.10.1


def test_a_package_that_was_skipped_counts_as_no_answer():
    report = {
        "dependencies": [
            {"name": "numpy", "version": "2.4.6", "vulns": []},
            {"name": "ours", "skip_reason": "Dependency not found on PyPI"},
        ],
        "fixes": [],
    }
    assert loaded("audit").sorted_out(report) == ([], ["ours"], 1)


def test_a_vulnerability_is_named_with_the_version_that_mends_it():
    flaw = {"id": "PYSEC-2023-74", "fix_versions": ["2.31.0"], "aliases": [], "description": ""}
    open_flaw = {**flaw, "id": "GHSA-0", "fix_versions": []}
    report = {
        "dependencies": [{"name": "requests", "version": "2.19", "vulns": [flaw, open_flaw]}],
        "fixes": [],
    }
    assert loaded("audit").sorted_out(report)[0] == [
        "requests 2.19: PYSEC-2023-74, mended in 2.31.0",
        "requests 2.19: GHSA-0, mended in no version yet",
    ]


@pytest.mark.parametrize(
    ("accepted", "code"),
    [([], 3), pytest.param(["--unreachable-ok"], 0, marks=pytest.mark.slow)],
)
def test_an_audit_without_an_answer_is_no_success(tmp_path, accepted, code):
    """No network: every connection goes to a port where nothing listens."""
    requirements = tmp_path / "constraints.txt"
    requirements.write_text("numpy==2.0.0\n")
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    alone = dict.fromkeys(names, "http://[::1]:9")
    alone |= {"PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1"}
    alone |= {"PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1", "NO_PROXY": "", "no_proxy": ""}
    command = [sys.executable, ROOT / ".ci" / "audit.py", requirements, *accepted]
    run = subprocess.run(
        [str(part) for part in (*command, "--environment", tmp_path / "audit")],
        capture_output=True,
        text=True,
        env={**os.environ, **alone},
        check=False,
        timeout=300,
    )
    assert "NOT AUDITED" in run.stderr
    assert "pip-audit==2.10.1 cannot be installed" in run.stderr
    assert run.returncode == code


# -- the coverage


def written(folder, lines):
    entry = {"num_statements": 100, "num_branches": 10, "covered_branches": 5}
    files = {
        "energy_plugin/errors.py": {"summary": {**entry, "covered_lines": 100}},
        "energy_plugin/energy/a.py": {"summary": {**entry, "covered_lines": lines}},
        "adapters/energy_chroma/b.py": {"summary": {**entry, "covered_lines": 80}},
    }
    path = folder / "coverage.json"
    path.write_text(json.dumps({"files": files}))
    return path


def test_coverage_is_told_by_package_and_fails_below_the_share(tmp_path):
    script = ROOT / ".ci" / "coverage_table.py"
    for lines, code in ((90, 0), (89, 1)):
        command = [sys.executable, str(script), str(written(tmp_path, lines)), "--lines", "90"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert run.returncode == code, run.stderr
        table = {line.split()[0]: line.split()[1:] for line in run.stdout.splitlines()[1:]}
        assert list(table) == [
            "adapters/energy_chroma",
            "energy_plugin",
            "energy_plugin/energy",
            "total",
        ]
        assert table["energy_plugin/energy"] == ["100", f"{lines:.1f}%", "10", "50.0%"]
        assert table["total"][0] == "300"


def test_continuous_integration_runs_the_checks_and_the_tests():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert "\nlint: style types\n" in makefile
    assert re.search(r"\ntest: style\n.*MAKE.* types\b.*\n.* -m pytest .*\n.*wait", makefile)
    assert "\ncheck: lint audit coverage docs\n" in makefile
