"""Collections as page images: what reading them keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.pages import evaluate_pages, load_pages, with_pages
from energy_plugin.optical import load_encoder

TEXTS = {
    "wing": "pressure distribution over a swept wing",
    "bread": "the dough is kneaded for ten minutes",
    "blank": "nothing of this stands on its page",
}
PEERS = ["tesseract"] if shutil.which("tesseract") else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages").mkdir()
    rows = []
    for name, text in TEXTS.items():
        page = Image.new("L", (700, 300), 255)
        if name != "blank":
            ImageDraw.Draw(page).text((40, 60), text, font=ImageFont.load_default(26), fill=0)
        page.save(tmp_path / "pages" / f"{name}.png")
        files = [f"{name}.png"] * (2 if name == "wing" else 1)
        rows.append(json.dumps({"_id": name, "pages": files}))
    (tmp_path / "pages.jsonl").write_text("\n".join(rows))
    return tmp_path


@pytest.fixture
def collection() -> JudgedCollection:
    queries = {"1": "swept wings", "2": "baking bread dough"}
    return JudgedCollection("tiny", TEXTS, queries, {"1": {"wing": 1}, "2": {"bread": 1}})


def test_pages_are_ranked_beside_their_texts(folder: Path, collection: JudgedCollection) -> None:
    listed = load_pages(folder)
    report = evaluate_pages(
        with_pages(collection, listed), listed, load_encoder("compact", device="cpu"), peers=PEERS
    )
    assert (report.documents, report.pages, report.queries) == (3, 4, 2)
    assert report.text == pytest.approx(1)
    assert set(report.readers) == {"bundled", *PEERS}
    for score in report.readers.values():
        assert score.ndcg == pytest.approx(1)
        assert score.unread == 1
        assert 0.55 < score.words <= 2 / 3
        assert score.pages_per_second > 0
        assert score.seconds_a_page > 0


def test_listings_that_do_not_fit_are_named(folder: Path, collection: JudgedCollection) -> None:
    with pytest.raises(InvalidInputError, match="no judged query of tiny"):
        with_pages(collection, {"blank": [folder]})
    (folder / "pages" / "wing.png").unlink()
    with pytest.raises(InvalidInputError, match="line 1: no file"):
        load_pages(folder)
    with pytest.raises(InvalidInputError, match=r"pages\.jsonl does not exist; expected a line"):
        load_pages(folder / "pages")
