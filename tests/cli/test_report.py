"""The page about a field: self-contained, escaped, and drawn by a browser."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from energy_plugin.library.reports.contents import contents_of, first_sentence
from energy_plugin.library.reports.page import safe
from energy_plugin.library.stores.opening import open_store

pytest.importorskip("matplotlib")
HOSTILE = "<script>document.title='taken'</script></table>\u202e\x07 <img src=x onerror=alert(1)>"


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
    assert said["queries"] == 12
    assert said["bytes"] == path.stat().st_size
    # pictures apart, what the page says does not change
    contents = contents_of(open_store(into), 0)
    pairs = [{each.text for each in pair[1:]} for pair in contents.duplicates]
    assert {"# Comets\n\nTheir tails point away from the sun."} in pairs
    assert contents.sizes.sum() == 38
    for question in contents.questions:
        for hits in (question.cosine, question.energy):
            distances = [hit.distance for hit in hits]
            assert len(distances) == 5
            assert distances == sorted(distances)
        assert f"<h3>{safe(question.text)}</h3>" in text


def test_browser_draws_the_page_and_runs_nothing(report, tmp_path):
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    path, _, _ = report
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
        *("--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"),
        "--window-size=1100,3000",
    ]
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*command, f"--screenshot={shot}", path.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (3000, 1100)
    colours = pixels.max(axis=2) - pixels.min(axis=2)
    # Two rows of pictures: anchors and two histograms, then two histograms. How much of each
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
    assert title.startswith("Energy field of docs in database")
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
