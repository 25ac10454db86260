"""What people did at the command line, and what they should see."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

EMBEDDER = "bag_of_words:Bag"
HOSTS = [
    pytest.param("lancedb", "year > 1000", "ascii", id="lancedb"),
    pytest.param(
        "chroma", '{"year": {"$gt": 1000}}', "cp1252", id="chroma", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(("host", "where", "encoding"), HOSTS)
def test_index_search_filter_and_change(energy_plugin, folder, tmp_path, host, where, encoding):
    pytest.importorskip({"chroma": "chromadb"}.get(host, host))
    into = tmp_path / "db"
    arguments = ("index", folder, "--into", into, "--host", host, "--embedder", EMBEDDER)
    done = energy_plugin(*arguments)
    assert (done.returncode, done.stdout.splitlines()[-1].decode()) == (
        0,
        f"{host} 'docs' in {into}: 4 rows, energy field: built",
    )
    assert "note: 1 skipped: 1 .py" in done.stderr.decode()
    asked = ("search", into, "Rhine tails", "--embedder", EMBEDDER, "--json")
    # letters of a narrow terminal are escaped, not replaced
    narrow = energy_plugin(*asked, "--where", where, PYTHONIOENCODING=encoding)
    assert narrow.returncode == 0
    found = json.loads(narrow.stdout.decode(encoding))
    assert {hit["source"] for hit in found} == {"rivers.csv", "note.md"}
    assert {hit["fields"]["year"] for hit in found} == {1230, 1094, 1990}
    assert "Comets have tails. Grüße 😀" in [hit["text"] for hit in found]

    # nothing changed: no host is opened; the same said again
    again = energy_plugin(*arguments, "--json")
    assert json.loads(again.stdout) | {"skipped": 0, "outside": 0} == {
        **{"host": host, "name": "docs", "rows": 4, "field": "unchanged", "files": 2},
        **{"added": 0, "changed": 0, "unchanged": 2, "removed": 0, "empty": 0, "planned": 0},
        **{"passages": 0, "skipped": 0, "outside": 0, "unreadable": []},
    }
    # a field of another kind than its column, and a new column
    (folder / "note.md").write_text("---\nyear: soon\nplace: sky\n---\nComets return.\n")
    done = energy_plugin(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changed"] == 1
    found = json.loads(energy_plugin(*asked).stdout)
    note = next(hit for hit in found if hit["source"] == "note.md")
    assert note["fields"] == {"year_text" if host == "lancedb" else "year": "soon", "place": "sky"}
    info = json.loads(energy_plugin("info", into, "--json").stdout)
    assert (info["rows"], info["host"], info["pending"]) == (4, host, 0)


def test_an_index_made_with_a_class_does_not_run_it_unasked(energy_plugin, indexed, tmp_path):
    folder, into = indexed[0], shutil.copytree(indexed[1], tmp_path / "db")
    done = energy_plugin("search", into, "Rhine")
    assert done.returncode == 2
    assert f"Add: --embedder {EMBEDDER}" in done.stderr.decode()
    done = energy_plugin("index", folder, "--into", into)
    assert done.returncode == 2
    assert "not embedded by this encoder" in done.stderr.decode()


@pytest.mark.parametrize("host", ["lancedb", pytest.param("chroma", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_was_embedded_and_search_names_a_command(
    energy_plugin, environment, tmp_path, host
):
    pytest.importorskip({"chroma": "chromadb"}.get(host, host))
    folder, into = tmp_path / "many", tmp_path / "db"
    folder.mkdir()
    rows = [json.dumps({"text": f"Row {i} of a long file."}) for i in range(1000)]
    (folder / "a.jsonl").write_text("\n".join(rows))
    command = ["index", str(folder), "--into", str(into), "--host", host, "--embedder", EMBEDDER]
    process = subprocess.Popen(
        [sys.executable, "-m", "energy_plugin", *command],
        env={**environment, "BAG_SECONDS": "0.02"},
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:  # a line now and then takes the place of bars
        if re.match(r"\d+ of 1000 passages", line):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    found = re.search(r"interrupted: (\d+) of 1000 passages are stored", said)
    assert found, said
    assert 0 < int(found[1]) < 1000
    done = energy_plugin("search", into, "Row 7", "--embedder", EMBEDDER)
    assert done.returncode == 1
    assert f"energy-plugin refit {into}" in done.stderr.decode()
    assert "build()" not in done.stderr.decode()
    done = energy_plugin("refit", into)
    assert done.returncode == 0, done.stderr
    assert f"{found[1]} rows" in done.stdout.decode().replace(",", "")
    done = energy_plugin(*command, "--json")
    assert json.loads(done.stdout)["passages"] == 1000 - int(found[1])
    assert json.loads(done.stdout)["rows"] == 1000


def test_report_into_a_folder_that_is_not_there_fails_at_once(energy_plugin, tmp_path):
    start = time.monotonic()
    done = energy_plugin("report", tmp_path / "db", "-o", tmp_path / "none" / "report.html")
    assert done.returncode == 2
    assert "not a folder" in done.stderr.decode()
    assert time.monotonic() - start < 60  # no database, no encoder; seconds on a busy machine


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("--help",), {"numpy", "torch", "rich", "lancedb", "chromadb", "PIL", "pyarrow"}),
        (("lab", "--help"), {"numpy", "torch", "rich", "lancedb", "chromadb", "PIL"}),
        (("index", "--help"), {"numpy", "torch", "lancedb", "chromadb", "PIL", "bs4"}),
        (("info", "{into}"), {"numpy", "torch", "lancedb", "chromadb", "PIL", "pyarrow", "scipy"}),
        (
            ("index", "{folder}", "--into", "{into}", "--embedder", EMBEDDER),
            {"torch", "lancedb", "chromadb", "PIL", "pyarrow", "scipy", "bs4"},
        ),
    ],
    ids=["--help", "lab --help", "index --help", "info", "index again"],
)
def test_commands_start_without_what_they_do_not_need(indexed, environment, arguments, refused):
    folder, into = indexed
    given = [each.format(folder=folder, into=into) for each in arguments]
    code = (
        "import sys\n"
        f"sys.argv = {['energy-plugin', *given]!r}\n"
        "from energy_plugin.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code in (0, None)\n"
        "print(' '.join(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert not loaded & refused


def test_a_search_does_not_import_the_compiler_of_torch():
    """It took four of twelve seconds; making the network's shell called for it."""
    code = (
        "import sys\n"
        "from energy_plugin.optical import OpticalEncoder\n"
        "OpticalEncoder.from_pretrained('compact').encode_query('words')\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_watch_takes_up_a_new_file(energy_plugin, environment, folder, tmp_path):
    pytest.importorskip("lancedb")
    into = tmp_path / "db"
    command = ["watch", str(folder), "--into", str(into), "--embedder", EMBEDDER, "--runs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "energy_plugin", *command, "--every", "0.2"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    lines = []
    while len(lines) < 2:
        lines.append(process.stdout.readline())
    (folder / "new.txt").write_text("Volcanoes are new.")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "3 files: 1 added, 0 changed, 2 unchanged" in out


def test_a_field_of_a_newer_format_is_not_repaired_away(indexed, energy_plugin, tmp_path):
    """The pointer says format 99; `verify --repair` must leave it to the newer version."""
    into = shutil.copytree(indexed[1], tmp_path / "db")
    code = (
        "import json, sys, lancedb, pyarrow as pa\n"
        "from energy_lancedb import EnergyTable\n"
        "from energy_lancedb import pointer\n"
        "pointer.FORMAT_VERSION = 99\n"
        "table = lancedb.connect(sys.argv[1]).open_table('docs')\n"
        "EnergyTable(table).build()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(into)], check=True, capture_output=True)
    done = energy_plugin("verify", into, "--repair")
    assert done.returncode == 1, done.stdout
    assert "later release" in done.stderr.decode()
    done = energy_plugin("search", into, "Rhine", "--embedder", EMBEDDER)
    assert "pip install -U energy-plugin" in done.stderr.decode()
    done = energy_plugin("verify", into)
    assert "format version 99" in done.stdout.decode()
