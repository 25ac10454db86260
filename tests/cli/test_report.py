"""The page about a field: self-contained, escaped, and drawn by a browser."""

from __future__ import annotations

import html
import html.parser
import json
import re
import shutil
import subprocess
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.reports.contents import contents_of, first_sentence
from energy_plugin.library.reports.coverage import read_list
from energy_plugin.library.reports.likeness import likeness
from energy_plugin.library.reports.markup import safe
from energy_plugin.library.reports.reasons import reason
from energy_plugin.library.reports.topics import topics
from energy_plugin.library.stores.opening import open_store

pytest.importorskip("matplotlib")
HOSTILE = "<script>document.title='taken'</script></table>\u202e\x07 <img src=x onerror=alert(1)>"


one_host = pytest.mark.parametrize("made", ["lancedb"], indirect=True)  # the page is the same


@pytest.fixture
def report(copy, call, tmp_path):
    """The page of a folder with hostile texts and a copy."""
    _, folder, into = copy
    for i in range(14):
        (folder / f"note{i}.txt").write_text(f"{HOSTILE} {i}")
    (folder / "copy.txt").write_bytes((folder / "deep" / "readme.md").read_bytes())
    assert call("index", folder, "--into", into)[0] == 2
    code, out, _ = call("report", into, "-o", tmp_path / "report.html", "--json")
    assert code == 0
    return tmp_path / "report.html", json.loads(out), into


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.links += [value for name, value in attrs if name in {"src", "href"}]


@one_host
def test_page_stands_alone_and_is_escaped(report):
    path, said, into = report
    text = path.read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.seen & {"script", "iframe", "link", "object", "form"}
    assert sum(link.startswith("data:image/png;base64,") for link in tags.links) == 5
    assert all(link.startswith(("data:image/png;", "data:image/jpeg;")) for link in tags.links)
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert "default-src 'none'" in text
    assert said["rows"] == open_store(into).count() == 38
    assert said["bytes"] == path.stat().st_size
    assert [html.escape(each) in text for each in said["findings"]] == [True] * len(
        said["findings"]
    )
    # pictures apart, what the page says does not change
    contents = contents_of(open_store(into), 0)
    assert ["copy.txt", "deep/readme.md"] in [each.names for each in contents.duplicates]
    assert said["groups"] == len(contents.duplicates)
    assert sum(topic.rows for topic in contents.topics) == 38
    assert contents.sizes.sum() == 38
    assert len(contents.questions) == 6
    for question in contents.questions:
        for hits in (question.cosine, question.energy):
            distances = [hit.distance for hit in hits]
            assert len(distances) == 5
            assert distances == sorted(distances)
        assert f"<h3>{safe(question.text)}</h3>" in text


def test_report_says_what_changed_and_what_is_answered(copy, call, tmp_path):
    _, folder, into = copy
    page = tmp_path / "report.html"
    asked = tmp_path / "asked.txt"
    asked.write_text(
        "Note 4 is about comets. It has 4 lines.\tignored\n\nwho won the cup in 1998\n"
    )
    arguments = ("report", into, "-o", page, "--questions", asked, "--json")
    code, out, _ = call(*arguments)
    assert code == 0
    said = json.loads(out)
    assert list(said["questions"].values()) == ["not in here", "answered"]
    assert "Of 2 questions, 1 answered, 0 doubtful, 1 not in here." in said["findings"]
    assert "last report" not in page.read_text("utf-8")

    (folder / "note3.txt").unlink()
    (folder / "note5.txt").write_text("Note 5 is about tunnels now.")
    (folder / "new.txt").write_text("Lighthouses warn ships of rocks.")
    assert call("index", folder, "--into", into)[0] == 2
    assert call("report", into, "-o", page)[0] == 0
    text = page.read_text("utf-8")
    for line in ("1 added</b> new.txt", "1 changed</b> note5.txt", "1 removed</b> note3.txt"):
        assert line in text
    assert "Nothing changed since the last report" in call("report", into, "-o", page)[1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("asked.txt", "\n \n", "has no questions"),
        ("asked.jsonl", '{"text": 3}', "expected an object with a question"),
        ("asked.jsonl", "{", "is not JSON"),
    ],
)
def test_lists_of_questions_are_checked(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_list(path)


def test_rows_among_themselves():
    """Ten subjects of thirty rows, one copied thrice, one row on its own, one near to all."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 32))
    rows = np.repeat(centres, 30, axis=0) + 0.3 * rng.normal(size=(300, 32))
    rows[[40, 41]] = rows[42]
    rows[250] = 5 * rng.normal(size=32)
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    like = likeness(unit)
    assert [group.tolist() for group in like.groups] == [[40, 41, 42]]
    assert like.alone() == [250]
    assert like.hubs() == []
    assert like.listed.sum() == 3000
    words = [{f"subject{i // 30}", "the"} for i in range(300)]
    found = topics(unit, words, seed=0)
    assert len(found) == 8
    assert sorted(row for topic in found for row in topic.rows) == list(range(300))
    for topic in found:
        assert topic.words[0] in {f"subject{row // 30}" for row in topic.rows}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no text"),
        ("ok", "only 1 word"),
        ("1 22 333 4444 5 66 777", "mostly digits and symbols"),
        ("der Zug nach Kassel fährt heute", "6 of its 6 words occur in no other row"),
        ("the wing stalls at a high angle", "unlike the rest: nearest row at 0.20, typical 0.70"),
    ],
)
def test_outliers_have_a_reason(text, said):
    known = Counter(["the", "wing", "stalls", "high", "angle"] * 9)
    assert reason(text, 0.2, 0.7, known).startswith(said)


@one_host
def test_browser_draws_the_page_and_runs_nothing(report, tmp_path):
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    path, _, _ = report
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
        *("--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"),
        "--window-size=1100,6000",
    ]
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*command, f"--screenshot={shot}", path.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (6000, 1100)
    colours = pixels.max(axis=2) - pixels.min(axis=2)
    # Three pictures in a row, then two: anchors and histograms. How much of each
    # is coloured depends on the rows' vectors; that each is drawn does not.
    heights = np.flatnonzero((colours > 60).any(axis=1))
    bands = np.split(heights, np.flatnonzero(np.diff(heights) > 60) + 1)
    for band, pictures in zip(bands, (3, 2), strict=False):
        thirds = np.array_split(colours[band[0] : band[-1] + 1] > 60, 3, axis=1)
        drawn = [int(third.sum()) for third in thirds[:pictures]]
        assert min(drawn) > 300, drawn
    assert len(bands) >= 2
    seen = subprocess.run(
        [*command, "--dump-dom", path.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    title = re.search("<title>(.*?)</title>", seen).group(1)
    assert title.startswith("docs in database")
    assert "<script>" not in seen.lower()


def test_first_sentence():
    assert first_sentence("One here.\nTwo there. ") == "One here."
    assert first_sentence("") == ""
    assert len(first_sentence("x" * 999)) == 200


def test_report_refuses(tmp_path, call):
    code, out, err = call("report", tmp_path, "-o", tmp_path / "x.html")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "x.html").exists()
