"""A small folder, indexed once for each host."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from PIL import Image, ImageDraw, ImageFont

from energy_plugin.cli import main

SUBJECTS = ("wings", "bread", "rivers", "violins", "comets")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["energy-plugin", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return exit_.value.code or 0, out, err

    return run


def print_page(path, text):
    """Write a page in a font that is not the typesetter's."""
    page = Image.new("L", (900, 240), 255)
    ImageDraw.Draw(page).text((60, 80), text, fill=0, font=ImageFont.load_default(40))
    page.save(path)


def fill(folder):
    folder.mkdir()
    for i in range(30):
        subject = SUBJECTS[i % len(SUBJECTS)]
        (folder / f"note{i}.txt").write_text(f"Note {i} is about {subject}. It has {i} lines.")
    (folder / "deep").mkdir()
    (folder / "deep" / "readme.md").write_text("# Comets\n\nTheir tails point away from the sun.")
    (folder / "page.html").write_text(
        "<title>Loaves</title><body><p>Bread rises.<script>alert('no')</script><p>Then it bakes."
    )
    (folder / "table.csv").write_text("name,length\nRhine,1230\nElbe,1094\n")
    rows = [{"title": "Strings", "text": "Violins have four."}, {"text": "line\u2028break \ud800"}]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    print_page(folder / "printed_page.png", "Glaciers carve deep valleys.")
    Image.linear_gradient("L").save(folder / "grey.png")
    Image.new("L", (64, 64), 255).save(folder / "blank.png")
    (folder / "latin.txt").write_bytes("Gr\xfc\xdfe".encode("latin1"))
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "broken.jsonl").write_text('{"text": "fine"}\n{"text": ')
    (folder / "empty.txt").write_text(" \n")
    (folder / ".hidden.txt").write_text("not indexed")
    return folder


@pytest.fixture(scope="module", params=["lancedb", "chroma"])
def made(request, tmp_path_factory):
    """Folder and database of one host, made by the command itself."""
    pytest.importorskip({"chroma": "chromadb"}.get(request.param, request.param))
    root = tmp_path_factory.mktemp(request.param)
    folder, into = fill(root / "files"), root / "database"
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["index", folder, "--into", into, "--host", request.param, "--json"]
        patch.setattr(sys, "argv", ["energy-plugin", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
    assert exit_.value.code == 2  # some files are broken
    return request.param, folder, into


@pytest.fixture
def copy(made, tmp_path):
    """The same, to be changed."""
    host, folder, into = made
    shutil.copytree(folder, tmp_path / "files")
    shutil.copytree(into, tmp_path / "database")
    return host, tmp_path / "files", tmp_path / "database"
