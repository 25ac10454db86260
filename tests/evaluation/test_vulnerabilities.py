"""examples/vulnerabilities: judgements by weakness and by identity, and one run of each."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "vulnerabilities"
TEXTS = [
    "SQL injection in list.php in Acme Shop 1.2 lets remote users read the table of orders.",
    "SQL injection in list.php in Acme Shop 1.3 lets remote users read the table of orders.",
    "Directory traversal in get.php in Blog Zero 2.0. A path with dots reads any file at all.",
    "Buffer overflow in parse.c in Libfoo 3.1. A long header crashes the whole server.",
    "Cross-site scripting in view.php in Wiki Nine 4.0 runs a script of another user.",
]
TITLES = [
    "Acme Shop 1.2 (list.php id) SQL Injection Vulnerability",
    "Acme Shop (list.php id) SQL Injection Vulnerability",  # two versions: not one identity
    "Blog Zero 2.0 get.php Cross-Site Scripting",  # another class of weakness
    "Libfoo 3.1 parse.c Remote Overflow",
    "Wiki Nine Cross-Site Scripting",  # no file
]


@pytest.fixture
def example(monkeypatch):
    """Modules of the example by name; they leave `sys.modules` afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    names = ("judging", "records")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


def cve(number, text, title="", cwe=""):
    cna = {"descriptions": [{"lang": "en", "value": text}], "title": title}
    cna["problemTypes"] = [{"descriptions": [{"cweId": cwe}]}]
    return {"cveMetadata": {"cveId": number}, "containers": {"cna": cna}}


def folder_of(path, records):
    path.mkdir()
    for place, record in enumerate(records):
        (path / f"{place}.json").write_text(json.dumps(record), encoding="utf-8")
    return path


def test_text_files_are_joined_by_product_file_and_version(tmp_path, example):
    for name, lines in (("texts", TEXTS * 2), ("titles", TITLES)):
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    texts, titles = (example["records"].read(tmp_path / name) for name in ("texts", "titles"))
    assert [record.text for record in texts] == TEXTS
    common = [*texts, *(example["records"].Record(f"Text {n}.") for n in range(300))]
    assert example["judging"].by_product(common, titles) == {0: TITLES[0], 3: TITLES[3]}


def test_records_and_advisories_are_joined_by_cve_number(tmp_path, example):
    records = [
        cve("CVE-1-1", "A long header overflows.", "Overflow in Libfoo", "CWE-121"),
        cve("CVE-1-2", "A long header overflows.", "Overflow in Libbar", "CWE-190"),
        cve("CVE-1-3", "A path with dots.", "Traversal in Blog", "CWE-22"),
    ]
    advisories = [
        {"id": "GHSA-1", "aliases": ["CVE-1-3"], "summary": "Blog reads any file", "details": "-"},
        {"id": "GHSA-2", "aliases": ["CVE-1-1", "CVE-1-3"], "summary": "Both"},
        {"id": "GHSA-3", "aliases": [], "summary": "Neither"},
    ]
    texts = example["records"].read(folder_of(tmp_path / "cve", records))
    assert [(r.title, set(r.weaknesses), set(r.names)) for r in texts] == [
        ("Overflow in Libfoo", {"119", "190"}, {"CVE-1-1", "CVE-1-2"}),
        ("Traversal in Blog", {"22"}, {"CVE-1-3"}),
    ]
    titles = example["records"].read(folder_of(tmp_path / "osv", advisories))
    assert example["judging"].by_name(texts, titles) == {1: "Blog reads any file"}


def test_hidden_names(example):
    judging = example["judging"]
    assert judging.without_identity(TITLES[3]) == "Libfoo Remote Overflow"
    assert judging.without_weakness(TEXTS[4]).startswith("in view.php in Wiki Nine 4.0 runs")
    assert judging.halves(TEXTS[3]) == tuple(TEXTS[3].replace("3.1. ", "3.1.|").split("|"))
    assert judging.halves(TEXTS[0]) == ("", TEXTS[0])


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """An interpreter that answers like arrowspace would, with lists of different lengths."""
    said = {"version": "0", "taus": {"1.0": [[0, 1]] * 3}}
    cells = [{"eta": eta, "steps": 2, "seconds": 1.0} for eta in (0.22, 0.535, 1.0)]
    said["grid"] = [{**cell, "ids": [[0], [], [1, 2]], "lambdas": [0.1, 0.2]} for cell in cells]
    path = tmp_path_factory.mktemp("other") / "python"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(said)}\nEND\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the other Python")
@pytest.mark.parametrize(
    ("arguments", "heading"),
    [
        (["--judge", "weakness"], "the three published queries"),
        (["--judge", "identity", "--queries", "3"], "3 vulnerabilities by identity"),
    ],
)
def test_a_run_prints_all_rankings(tmp_path, other, arguments, heading):
    kinds = [("reads a file", "CWE-22"), ("runs code", "CWE-94"), ("injects SQL", "CWE-89")]
    records = [
        cve(f"CVE-1-{n}", f"Module {n} {does}.", f"{does} in module {n}", cwe)
        for n in range(15)
        for does, cwe in [kinds[n % 3]]
    ]
    texts = folder_of(tmp_path / "texts", records)
    command = [sys.executable, EXAMPLE, texts, *arguments, "--steps", "2", "--arrowspace", other]
    run = subprocess.run(
        [str(part) for part in [*command, "--out", tmp_path / "out"]],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert f"\n{heading}\n" in run.stdout
    lines = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) \|", run.stdout, re.MULTILINE))
    assert {"cosine", "Maniscope", "energy", "hybrid energy", "arrowspace 0 search, τ 1.0"} < set(
        lines
    )
    assert (tmp_path / "out" / "heatmaps.png").stat().st_size > 10_000
    out = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))[heading]
    assert set(out["grids"]) == {"energy", "arrowspace 0"}
    assert all(0 <= value <= 1 for row in out["rankings"].values() for value in row.values())
    if "identity" in arguments:  # row n answers query n: first, at place two or not found
        assert out["rankings"]["arrowspace 0 search, τ 1.0"]["MRR"] == pytest.approx(
            (1 + 1 / 2) / 3
        )
        assert {cell["MRR"] for cell in out["grids"]["arrowspace 0"]} == {(1 + 1 / 2) / 3}
