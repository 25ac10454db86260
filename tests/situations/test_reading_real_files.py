"""Files as they lie in people's folders: what is stored is what they say."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.folder import Cutting, files_below, left_out, source_of
from energy_plugin.library.files.pages import MOST_PIXELS, picture
from energy_plugin.library.files.passages import passages
from energy_plugin.library.files.reading import parts_of


def read(name, data):
    return parts_of(Path(name), data.encode() if isinstance(data, str) else data)


def test_a_cell_of_a_quarter_million_characters_is_read():
    long = "word " * 50_000
    (part,) = read("a.csv", f'title,body\nLong,"{long}"\n')
    assert part.text == f"title: Long\nbody: {long}".strip()
    assert part.fields == {"title": "Long"}  # what is that long is text, not a column


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_a_table_from_a_spreadsheet_of_another_country(delimiter):
    rows = [
        ["name", "length", "note"],
        ["Rhine", "1230", '"long, and; wide"'],
        ["Elbe", "1094", ""],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    if delimiter == "|":
        text = text.replace(";", " ")
    found = read("rivers.csv", text)
    assert [part.fields["length"] for part in found] == [1230, 1094]
    assert found[0].text.startswith("name: Rhine\nlength: 1230\nnote: long, and")
    assert found[1].text == "name: Elbe\nlength: 1094"
    assert read("rivers.tsv", "a\tb\n1\t2,5\n")[0].fields == {"a": 1, "b": "2,5"}


def test_quotes_emoji_and_line_breaks_in_a_cell_are_kept():
    (part,) = read("a.csv", 'who,said\nAnn 👩‍🔬,"She said ""go"",\nand 😀 went; then | left"\n')
    assert part.fields == {"who": "Ann 👩‍🔬", "said": 'She said "go",\nand 😀 went; then | left'}
    with pytest.raises(InvalidInputError, match="line 3"):
        read("a.csv", 'a,b\n1,2\n"never closed,3\n')


def test_columns_are_named_for_filters_and_typed():
    found = read("a.csv", "ID,Release Year,Score,OK,OK\nx,1999,1.5,yes,1\ny,2001,,no,2\n")
    assert found[0].fields == {
        "field_id": "x", "release_year": 1999, "score": 1.5, "ok": "yes", "ok_2": 1,
    }  # fmt: skip
    assert found[1].fields == {"field_id": "y", "release_year": 2001, "ok": "no", "ok_2": 2}
    codes = read("a.csv", "zip\n01234\n99999\n")
    assert [part.fields["zip"] for part in codes] == ["01234", "99999"]  # not numbers


def test_json_lines_and_json_become_rows_with_fields():
    rows = [{"text": "One.", "year": 1990, "by": {"name": "Ann"}, "tags": ["a", "b"]}, {"n": 2.5}]
    expected = [
        ("One.", {"year": 1990, "by_name": "Ann", "tags": "a, b"}),
        ("n: 2.5", {"n": 2.5}),
    ]
    lines = read("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [(part.text, part.fields) for part in lines] == expected
    for value in (rows, {"meta": 1, "rows": rows}):
        found = read("a.json", json.dumps(value))
        assert [(part.text, part.fields) for part in found] == expected
    assert read("a.json", '{"name": "one", "deep": {"er": [1, {}]}}')[0].fields == {"name": "one"}


def test_front_matter_becomes_fields_and_leaves_the_text():
    (part,) = read("a.md", "---\ntitle: Comets\ndate: 1986-02-09\ndraft: false\n---\n# Halley\n")
    assert part.fields == {"title": "Comets", "date": "1986-02-09", "draft": False}
    assert part.text == "Comets\n\n# Halley"
    long = "word " * 2000
    (part,) = read("a.md", f"---\ntitle: T\nsummary: {long}\nlinks: [{{a: 1}}]\n---\nBody.\n")
    assert part.fields == {"title": "T"}
    assert part.text == f'T\n\nsummary: {long.strip()}\nlinks: [{{"a": 1}}]\n\nBody.'
    ruled = "---\n\nJust a rule above, and: a colon.\n\n---\nBelow.\n"
    assert read("a.md", ruled)[0].text == ruled.strip()


def test_headings_of_a_page_do_not_run_together():
    page = (
        "<body><h1><a><span>About</span><h2>Garden</h2></a></h1><ul><li>one<li>two</ul>"
        "<table><tr><th>Rose</th><td>red</td></tr><tr><td>Lily</td></tr></table>a<br>b<b>old</b>"
    )
    assert read("a.html", page)[0].text.split() == [
        *("About", "Garden", "one", "two", "Rose", "red", "Lily", "a", "bold"),
    ]
    latin = "<meta charset='iso-8859-1'><p>Grüße".encode("latin1")
    assert read("a.html", latin)[0].text == "Grüße"


def test_a_word_document_is_read_with_its_tables():
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.add_heading("Rivers", 1)
    document.add_paragraph("They flow.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Rhine", "1230"
    document.add_paragraph("The end.")
    document.core_properties.author = "Ann"
    out = io.BytesIO()
    document.save(out)
    (part,) = read("a.docx", out.getvalue())
    assert part.text == "Rivers\n\nThey flow.\n\nRhine | 1230\n\nThe end."
    assert part.fields["author"] == "Ann"
    with pytest.raises(InvalidInputError, match="Word document"):
        read("a.docx", out.getvalue()[:500])


def test_underlines_of_rst_headings_are_not_text():
    assert read("a.rst", "Heading\n=======\n\nWords.\n")[0].text == "Heading\n\nWords."


@pytest.mark.parametrize("rule", ["....", "%%%%%", "!!!!!", "====  ===", "+---+---+", "+===+===+"])
def test_rules_of_rst_are_not_text(rule):
    assert read("a.rst", f"Heading\n{rule}\n\nWords ...\n")[0].text == "Heading\n\nWords ..."


@pytest.mark.parametrize(
    "text", ["sep=;\n{}", '"sep=;"\r\n{}', "\n\n{}", "{}  \n;\n", "{}\x1a", "\ufeff{}"]
)
def test_what_excel_and_dos_write_around_a_table(text):
    found = read("a.csv", text.format("name;year\nRhine;1230\n"))
    assert [part.fields for part in found] == [{"name": "Rhine", "year": 1230}]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.json", '{"text": "x", "n": 1%s}' % ("0" * 400), "x"),
        ("a.md", "---\na: &a [*a]\n---\nx", "a: [[...]]\n\nx"),
        ("a.md", "---\na: [{2020-01-01: d}]\n---\nx", None),
        ("a.html", "<p><table><tr><th>x<td>y</table>", "x y"),
        ("a.html", "<p>w<textarea>z</textarea>", "w\n\nz"),
    ],
)
def test_odd_but_whole_files_are_read(name, data, text):
    (part,) = read(name, data)
    assert text in (part.text, None)
    assert part.fields == {}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b'<meta charset="rot13">caf\xe9'),
        ("a.html", b'<meta charset="undefined">caf\xe9'),
        ("a.html", b"<![foo[ x ]]>"),
        ("a.md", b"---\na: 0x" + b"f" * 5000 + b"\n---\nx"),
    ],
)
def test_what_no_reader_takes_is_named(name, data):
    with pytest.raises(InvalidInputError, match=name):
        read(name, data)


def test_tables_inside_tables_of_a_word_document():
    docx = pytest.importorskip("docx")
    document = docx.Document()
    table = document.add_table(2, 2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "merged"
    table.cell(1, 0).text = "a"
    table.cell(1, 1).add_table(1, 1).cell(0, 0).text = "inner"
    out = io.BytesIO()
    document.save(out)
    assert read("a.docx", out.getvalue())[0].text == "merged\na | inner"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes of that kind")
def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    os.mkfifo(tmp_path / "b.txt")
    found = files_below(tmp_path)
    assert ([path.name for path in found.files], found.skipped) == (
        ["a.txt"],
        {"pipe or device": 1},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names are not bytes everywhere")
def test_names_that_are_not_utf_8_stay_apart(tmp_path):
    names = [source_of(tmp_path, tmp_path / os.fsdecode(each)) for each in (b"\xff.md", b"\xfe.md")]
    assert names == [r"\xff.md", r"\xfe.md"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.txt").write_text("words")
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "in":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = files_below(tmp_path)
    assert list(found.closed) == ["in"]
    assert found.hides("in/b.txt")
    assert not found.hides("inner.txt")


@pytest.mark.parametrize("size", [50, 120])
def test_no_passage_is_cut_inside_a_word(size):
    words = [f"{'ab' * (i % 20 + 1)}{i}" for i in range(400)]
    cut = passages(" ".join(words), size)
    assert max(map(len, cut)) <= size
    assert " ".join(cut).split() == words


def test_passages_overlap_by_whole_sentences():
    sentences = [f"Sentence number {i} is here." for i in range(30)]
    cut = passages(" ".join(sentences), 120, overlap=60)
    assert all(len(each) <= 120 for each in cut)
    for one, other in pairwise(cut):
        shared = other.partition(". ")[0] + "."
        assert shared in sentences
        assert one.endswith(shared) or shared in one
    assert set(sentences) <= {f"{s.rstrip('.')}." for each in cut for s in each.split(". ")}


def test_what_is_left_out_is_named(tmp_path):
    folder = tmp_path / "files"
    (folder / "in").mkdir(parents=True)
    for name in ("a.txt", "b.py", "c.py", "README", "in/d.rst", ".hidden.txt"):
        (folder / name).write_text("words")
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    (folder / "again").symlink_to(folder / "in")
    (folder / "same.txt").symlink_to(folder / "a.txt")
    found = files_below(folder)
    names = [path.relative_to(folder).as_posix() for path in found.files]
    assert names == ["a.txt", "in/d.rst", "same.txt"]
    assert left_out(found.skipped, found.outside) == (
        "3 skipped: 2 .py, 1 no suffix; 2 links out of the folder not followed: link.txt, up"
    )


def test_a_database_inside_the_folder_is_not_indexed(tmp_path):
    (tmp_path / "db" / "docs.lance").mkdir(parents=True)
    (tmp_path / "db" / "docs.lance" / "notes.txt").write_text("inside")
    (tmp_path / "a.txt").write_text("words")
    found = files_below(tmp_path, tmp_path / "db")
    assert ([path.name for path in found.files], found.skipped) == (["a.txt"], {})


def pdf_of(*pages):
    """A PDF with a page for each text, or for each picture."""
    pdfium = pytest.importorskip("pypdfium2")
    made = pdfium.PdfDocument.new()
    for each in pages:
        if isinstance(each, str):
            other = pdfium.PdfDocument(_text_pdf(each))
        else:
            out = io.BytesIO()
            each.save(out, format="PDF", resolution=100)
            other = pdfium.PdfDocument(out.getvalue())
        made.import_pages(other)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def _text_pdf(text, box=(612, 792)):
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R" % box
        + b"/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        b"<</Length %d>>stream\n" % len(stream) + stream + b"\nendstream",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj" % number + each + b"endobj\n"
    start = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n"
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start


def test_a_pdf_goes_by_text_where_it_has_text_and_by_picture_where_not():
    scan = Image.linear_gradient("L").convert("RGB")
    data = pdf_of("The first page says this much.", scan, "And the third page that.")
    found = read("a.pdf", data)
    assert [(part.page, part.picture) for part in found] == [(1, False), (2, True), (3, False)]
    assert found[0].text == "The first page says this much."
    seen = np.asarray(picture(Path("a.pdf"), data, 2))
    assert seen.shape[2] == 3
    assert seen.std() > 20  # the gradient, not a white page
    cut = Cutting(50).parts(Path("a.pdf"), data)
    assert [part.page for part in cut] == [1, 2, 3]


def test_a_page_as_large_as_a_field_is_drawn_small():
    pytest.importorskip("pypdfium2")
    data = _text_pdf("x", box=(2_000_000, 2_000_000))
    seen = picture(Path("bomb.pdf"), data, 1)
    assert seen.width * seen.height <= MOST_PIXELS


@pytest.mark.parametrize("cut", [20, 300])
def test_a_truncated_pdf_is_named(cut):
    data = pdf_of("The only page.")
    with pytest.raises(InvalidInputError, match=r"broken\.pdf: cannot be read as PDF"):
        read("broken.pdf", data[:cut])


def test_every_frame_of_a_tiff_is_a_page(tmp_path):
    frames = [Image.new("L", (40, 30), shade) for shade in (10, 120, 250)]
    out = io.BytesIO()
    frames[0].save(out, format="TIFF", save_all=True, append_images=frames[1:])
    found = read("scan.tiff", out.getvalue())
    assert [part.page for part in found] == [1, 2, 3]
    shades = [np.asarray(picture(Path("scan.tiff"), out.getvalue(), n))[0, 0, 0] for n in (1, 2, 3)]
    assert shades == [10, 120, 250]


def test_odd_images_are_seen_as_people_see_them():
    def seen(image, kind="PNG", **how):
        out = io.BytesIO()
        image.save(out, format=kind, **how)
        return np.asarray(picture(Path(f"a.{kind.lower()}"), out.getvalue(), 1))

    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (seen(clear) == 255).all()  # transparent is white, not black
    ramp = np.linspace(0, 60_000, 16, dtype=np.uint16).reshape(4, 4)
    assert np.ptp(seen(Image.fromarray(ramp))) == 255
    cmyk = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert (seen(cmyk, "JPEG") > 250).all()
    palette = Image.new("RGB", (4, 4), (200, 10, 10)).quantize(4)
    assert seen(palette)[0, 0, 0] > 150
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert seen(Image.new("RGB", (8, 4)), "JPEG", exif=exif).shape == (8, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        large = seen(Image.new("1", (12_000, 8_000)))
    assert large.shape[0] * large.shape[1] <= MOST_PIXELS


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff", "a.webp"])
def test_a_truncated_image_is_named(name):
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noise.save(out, format={"jpg": "JPEG"}.get(name[2:], name[2:].upper()))
    with pytest.raises(InvalidInputError, match=f"{name}: cannot be read as an image"):
        read(name, out.getvalue()[: len(out.getvalue()) // 2])
