"""A folder with scans: what is on a page is found, and what cannot be read is named."""

from __future__ import annotations

import base64
import json
import sys
import zlib

import pytest
from PIL import Image, ImageDraw, ImageFont

from energy_plugin.cli import main
from energy_plugin.library.ocr import load_ocr

# One blank page, RC4 with 40 bits, password "secret".
ENCRYPTED = (
    "eNqNUstu1EAQvM9X9GWPZB6eh0ey9kCSlRCgrJzABeUwj55l0cqOZmelhJ/kwB/AjzA2ECyWA5YtWdVV1T3Vs9pe"
    "bV7wi4asvn3/8pVwYDD6T6TrCN3mMZ4CZuiiEtwYZlRak/Wa4BAnjlhw754eEOjW7fBI6OV4GgpwQl/v4xE+gKzE"
    "Hu4X0uZMeumKO4w78tMDJu9+IZD/7EVoj8fxlENV1Eql07cY9+7l+Fjbsgs2f0ZM7/1knbEO9re3Wni/n8buQRD6"
    "Bodd+QiSVR1IYaXVRtha2OwPpYZCb4sbosuR0BvoULk2Ct0aH21kISUrtTcuKJUUZy2PIbHIuVZKBulT8MwplFIn"
    "bdHJ1tXJ30GXXBJOuKi1F76RhmltvZMumqSF0kGhwiSFts7KyBBNo4JNXIVaaVGw5XYeMybCQBP2/EBt3yhI8Izx"
    "eva5MvzBlD3DOG/PMW3OMLHUluz2B8xzrLf7z1hHof04Fmjm/OmrIY3Af/1f1X11DhWTnFnvo7ZtE7xl1poaGVpt"
    "eWDr/6HUPV8PIT89FFC/F30sLpc5EGnqTV9d32zIDy8UwxI="
)


def printed(*lines):
    """A page in a font that the encoder's typesetter does not use."""
    page = Image.new("L", (1000, 700), 255)
    font = ImageFont.load_default(30)
    for number, line in enumerate(lines):
        ImageDraw.Draw(page).text((70, 80 + 50 * number), line, fill=0, font=font)
    return page


VOLCANO = printed("Volcanoes throw ash and lava", "high into the cold air.")
COMET = printed("Comets have long tails that", "point away from the sun.")
VIOLIN = printed("A violin is played with a bow", "that is strung with horse hair.")


@pytest.fixture
def call(monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["energy-plugin", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return end.value.code, out, err

    return run


def test_scans_are_found_by_page_and_unreadable_ones_named(tmp_path, call):
    pytest.importorskip("lancedb")
    folder, into = tmp_path / "scans", tmp_path / "db"
    folder.mkdir()
    blank = Image.new("L", (1000, 700), 255)
    others = [blank, VIOLIN.copy()]
    COMET.save(folder / "two.pdf", save_all=True, append_images=others, resolution=100)
    VOLCANO.save(folder / "one.tiff", save_all=True, append_images=[VIOLIN.copy()])
    encrypted = zlib.decompress(base64.b64decode(ENCRYPTED))
    (folder / "locked.pdf").write_bytes(encrypted)
    code, out, err = call("index", folder, "--into", into, "--json")
    done = json.loads(out)
    assert code == 2
    listed = {(each["file"], each.get("page")) for each in done["unreadable"]}
    assert listed == {("two.pdf", 2), ("locked.pdf", None)}
    assert "is encrypted" in err
    assert done["rows"] == 4
    for question, file, page in (
        ("tails of comets point away from the sun", "two.pdf", 1),
        ("volcanoes throw ash and lava", "one.tiff", 1),
    ):
        code, out, _ = call("search", into, question, "--json", "--limit", "1")
        (hit,) = json.loads(out)
        assert (hit["source"], hit["page"]) == (file, page)
    assert "ash and lava" in hit["text"]
    code, out, _ = call("search", into, "violin bow", "--limit", "2")
    assert "page 3" in out
    assert "page 2" in out
    # again: what is stored is not read again, what cannot be read is named again
    code, out, _ = call("index", folder, "--into", into, "--passage", "1000", "--json")
    again = json.loads(out)
    assert (code, again["passages"], again["rows"]) == (2, 0, 4)
    assert {(each["file"], each.get("page")) for each in again["unreadable"]} == listed
    pytest.importorskip("matplotlib")
    code, _, _ = call("report", into, "-o", tmp_path / "report.html")
    assert code == 0
    assert (tmp_path / "report.html").read_text("utf-8").count("data:image/jpeg;base64,") >= 4


@pytest.mark.parametrize("engine", ["rapidocr", "tesseract"])
def test_ocr_reads_a_page(engine):
    pytest.importorskip({"tesseract": "pytesseract"}.get(engine, engine))
    try:
        read = load_ocr(engine)
    except ValueError as error:
        pytest.skip(str(error))
    assert "tails" in read(COMET.convert("RGB"))
    assert not read(Image.new("RGB", (300, 200), "white")).strip()
