"""``index`` and ``search`` with real hosts and the real encoder."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from energy_plugin.library.files.passages import passages
from energy_plugin.library.ingest import CHUNK
from energy_plugin.library.stores.opening import open_store

WHERE = {"lancedb": "source = 'table.csv'", "chroma": '{"source": "table.csv"}'}


def _sources(into):
    return {source for source, *_ in open_store(into).sources()}


def test_everything_readable_is_found_and_the_rest_is_listed(made, call):
    host, folder, into = made
    found = open_store(into)
    assert found.host == host
    assert _sources(into) == {
        *(f"note{i}.txt" for i in range(30)),
        *("deep/readme.md", "page.html", "table.csv", "rows.jsonl", "printed_page.png"),
    }
    texts = dict(zip(found.content().ids, found.content().texts, strict=True))
    assert len(texts) == found.count() == 37
    assert texts["table.csv#1"] == "name: Elbe\nlength: 1094"
    assert texts["rows.jsonl#0"] == "Strings Violins have four."
    assert texts["rows.jsonl#1"] == "line\u2028break ?"
    assert "valleys" in texts["printed_page.png#0"].lower()
    assert "Bread rises." in texts["page.html#0"]
    assert "alert" not in texts["page.html#0"]
    code, out, err = call("index", folder, "--into", into, "--json")
    again = json.loads(out)
    assert code == 2
    assert (again["unchanged"], again["empty"], again["passages"]) == (35, 1, 0)
    assert again["added"] == again["changed"] == again["removed"] == 0
    broken = {"blank.png", "grey.png", "latin.txt", "broken.png", "broken.pdf", "broken.jsonl"}
    assert {each["file"] for each in again["unreadable"]} == broken
    for name in broken:
        assert name in err


@pytest.mark.parametrize("ranking", ["energy", "cosine"])
def test_search(made, call, ranking):
    host, _, into = made
    question = "Their tails point away from the sun."
    code, out, _ = call("search", into, question, "--ranking", ranking, "--limit", 3, "--json")
    hits = json.loads(out)
    assert code == 0
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)
    assert "deep/readme.md" in [hit["source"] for hit in hits]
    code, out, _ = call(
        *("search", into, "long river", "--where", WHERE[host], "--ranking", ranking, "--json")
    )
    assert {hit["source"] for hit in json.loads(out)} == {"table.csv"}
    code, out, _ = call(
        *("search", into, "glaciers carve valleys", "--ranking", ranking, "--limit", 3, "--json")
    )
    page = next(hit for hit in json.loads(out) if hit["source"] == "printed_page.png")
    assert page["page"] == 1
    code, out, _ = call("search", into, "long river", "--ranking", ranking)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 120


def test_wrong_filters_are_one_line(made, call):
    _, _, into = made
    code, out, err = call("search", into, "river", "--where", "nonsense = = 1")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_only_what_changed_is_done_again(copy, call):
    _, folder, into = copy
    (folder / "note3.txt").write_text("Now about glaciers.")
    (folder / "note4.txt").unlink()
    (folder / "fresh.md").write_text("Volcanoes are new here.")
    code, out, _ = call("index", folder, "--into", into, "--json")
    done = json.loads(out)
    assert code == 2
    assert (done["added"], done["changed"], done["removed"], done["unchanged"]) == (1, 1, 1, 33)
    assert (done["passages"], done["rows"], done["field"]) == (2, 37, "refreshed")
    code, out, _ = call("search", into, "Volcanoes are new here.", "--limit", 40, "--json")
    texts = {hit["id"]: hit["text"] for hit in json.loads(out)}
    assert len(texts) == 37
    assert texts["note3.txt#0"] == "Now about glaciers."
    assert texts["fresh.md#0"] == "Volcanoes are new here."
    assert "note4.txt#0" not in texts


def test_another_folder_is_refused(copy, call, tmp_path):
    _, _, into = copy
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("something else")
    code, _, err = call("index", other, "--into", into)
    assert code == 2
    assert "another folder" in err
    assert len(_sources(into)) == 35
    code, out, _ = call("index", other, "--into", into, "--name", "second", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 1)
    code, _, err = call("search", into, "x")
    assert code == 2
    assert "docs, second" in err


@pytest.mark.slow  # `tests/situations` interrupts too, with an embedder that is fast to load
@pytest.mark.parametrize("host", ["lancedb", "chroma"])
def test_interrupted_it_goes_on(tmp_path, call, host):
    """A real process, a real SIGINT between two commits."""
    pytest.importorskip({"chroma": "chromadb"}.get(host, host))
    folder, into = tmp_path / "files", tmp_path / "database"
    folder.mkdir()
    lines = [json.dumps({"text": f"Row {i} of a long file."}) for i in range(64 * CHUNK)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    (folder / "b.txt").write_text("The last one.")
    command = [sys.executable, "-m", "energy_plugin", "index", str(folder), "--into", str(into)]
    process = subprocess.Popen(
        [*command, "--host", host], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _rows(host, into):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    said = re.fullmatch(
        r"interrupted: (\d+) of (\d+) passages are stored; .*", err.splitlines()[-1]
    )
    assert int(said[2]) == len(lines) + 1
    assert "Traceback" not in err
    before = open_store(into).count()
    assert 0 < before < len(lines)
    assert before == int(said[1])
    code, out, _ = call("index", folder, "--into", into, "--json")
    done = json.loads(out)
    assert code == 0
    assert done["passages"] == len(lines) + 1 - before
    assert done["rows"] == len(lines) + 1
    assert len(set(open_store(into).content().ids)) == len(lines) + 1


def _rows(host, into):
    """Committed rows: a data file may stand before the commit that names it."""
    if host == "lancedb":
        import lancedb

        try:
            return lancedb.connect(into).open_table("docs").count_rows()
        except ValueError:  # not there yet
            return 0
    import sqlite3

    try:
        with sqlite3.connect(f"file:{into / 'chroma.sqlite3'}?mode=ro", uri=True) as reader:
            return reader.execute("SELECT count(*) FROM embeddings").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("index", "{tmp}/none", "--into", "{tmp}/db"), "is not a folder"),
        (("index", "{tmp}/bare", "--into", "{tmp}/db"), "has no file to index"),
        (("index", "{tmp}/files", "--into", "{tmp}/files"), "neither a LanceDB nor a Chroma"),
        (("index", "{tmp}/files", "--into", "{tmp}/files/a.txt"), "is a file"),
        (("index", "{tmp}/files", "--into", "{tmp}/db", "--host", "x"), "Unknown host 'x'"),
        (("search", "{tmp}/files", "x"), "neither a LanceDB nor a Chroma"),
        (("search", "{tmp}/none", "x"), "neither a LanceDB nor a Chroma"),
        (("search", "{tmp}/files", " "), "question is empty"),
        (("search", "{tmp}/odd", "x"), "cannot be opened as chroma"),
    ],
)
def test_bad_input_is_one_line_and_two(tmp_path, call, arguments, message):
    (tmp_path / "bare").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("text")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "chroma.sqlite3").write_text("no database")
    code, out, err = call(*(each.format(tmp=tmp_path) for each in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("size", [50, 200])
def test_passages_lose_nothing(size):
    text = "\n\n".join(f"Sentence {i}. " * (i % 9 + 1) + "x" * (37 * i) for i in range(20))
    cut = passages(text, size)
    assert all(len(each) <= 2 * size for each in cut)
    assert "".join("".join(cut).split()) == "".join(text.split())


@pytest.mark.parametrize("ranking", ["cosine", "words", "fusion", "energy", "hybrid"])
def test_every_ranking_finds_the_page(call, made, ranking):
    _, _, into = made
    code, out, err = call("search", into, "tails of comets", "--ranking", ranking, "--json")
    assert code == 0, err
    hits = json.loads(out)
    assert "comets" in hits[0]["text"].lower()
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)


def test_hybrid_is_the_default_where_words_are_indexed(call, made):
    _, _, into = made
    default = call("search", into, "what carves deep valleys", "--json")
    hybrid = call("search", into, "what carves deep valleys", "--ranking", "hybrid", "--json")
    assert default == hybrid
    assert default[0] == 0
