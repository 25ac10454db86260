"""The picture of README. Run with ``python docs/readme_figure.py [.demo] [FILE.png]``.

Needs a finished demonstration (``energy-plugin demo``). The pages are set here and made to look
scanned; they are read, and the question is answered, when the picture is drawn.
"""

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from energy_plugin import EnergyIndex, OpticalEncoder
from energy_plugin.evaluation.ranking import rank_by_cosine
from energy_plugin.lexical import LexicalIndex
from energy_plugin.library.comparison import fused
from energy_plugin.library.demonstration.questions import KNOWN
from energy_plugin.library.demonstration.store import DemoStore

PAGES = {
    "bread": "Keeping a sourdough. A starter is flour and water in which wild yeast and bacteria "
    "live. Feed it once a day with equal weights of flour and water. After a week it doubles in "
    "four hours and smells of yoghurt. Take a spoonful for the dough and keep the rest in the "
    "refrigerator, where it sleeps for up to two weeks. Liquid on top only means hunger.",
    "wing": "Why a wing stalls. Lift grows with the angle between the wing and the air until the "
    "flow can no longer follow the upper surface. It separates, lift falls at once and drag "
    "rises. The remedy is always the same: lower the nose, let the speed build, then level out. "
    "Washout, a twist that lowers the angle at the tips, keeps the ailerons working.",
    "bees": "Wintering a hive. Bees do not sleep in winter. They form a cluster around the queen, "
    "shiver to keep it warm and eat through the honey above them. Leave at least fifteen kilos "
    "of stores, narrow the entrance against mice and let moist air escape under the lid. Do not "
    "open the hive below ten degrees.",
    "pump": "Heat pump: before you call service. If the unit runs but the rooms stay cold, check "
    "the filter of the water circuit and the pressure, which should read between one and two "
    "bar. Ice on the outdoor unit is normal for an hour; the fan reverses and melts it. An error "
    "that returns after a restart needs a technician.",
}
ASKED = {
    "the heating does not get warm": "pump",
    "how do I feed wild yeast": "bread",
    "losing lift at a high angle of attack": "wing",
    "how bees survive the cold": "bees",
}
QUESTION = "the checksum of a file"
SHOWN = 5


def scanned(text: str, seed: int) -> Image.Image:
    """One printed page, a little crooked, soft, grey and noisy."""
    rng = np.random.default_rng(seed)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Serif"), 26)
    page = Image.new("L", (820, 470), 246)
    lines = "\n".join(textwrap.wrap(text, 46))
    ImageDraw.Draw(page).multiline_text((70, 60), lines, font=font, fill=30, spacing=14)
    page = page.rotate(rng.uniform(-1.2, 1.2), Image.Resampling.BICUBIC, fillcolor=246)
    grey = np.asarray(page.filter(ImageFilter.GaussianBlur(0.8)), dtype=float)
    shade = np.linspace(0, -34, grey.shape[1])[None, :]
    return Image.fromarray(
        np.clip(grey + shade + rng.normal(0, 9, grey.shape), 0, 255).astype(np.uint8)
    )


def ranked(store: DemoStore, encoder: Any) -> dict[str, list[str]]:
    """Names of the first documents by each ranking."""
    names, texts, vectors = store.content()
    asked = np.asarray(encoder.encode_query(QUESTION), dtype=np.float32)[None, :]
    words = LexicalIndex.fit(texts).scores([QUESTION])
    depth = 100
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    by_cosine = rank_by_cosine(unit, asked, depth)[0].tolist()
    row = words.tocoo()
    by_words = row.col[np.argsort(-row.data, kind="stable")][:depth].tolist()
    orders = {
        "cosine": by_cosine,
        "fusion (RRF)": list(fused([by_cosine, by_words])),
        "hybrid energy": EnergyIndex.fit(vectors)
        .search(asked, SHOWN, lexical=words)
        .ids[0]
        .tolist(),
    }
    return {name: [names[i] for i in order[:SHOWN]] for name, order in orders.items()}


def _short(name: str) -> str:
    """The last two parts of a long name."""
    return name if len(name) <= 22 else ".".join(name.split(".")[-2:])


def main() -> None:
    """Draw the picture."""
    folder = sys.argv[1] if sys.argv[1:] else ".demo"
    file = sys.argv[2] if sys.argv[2:] else Path(__file__).parent / "images" / "readme.png"
    encoder = OpticalEncoder.from_pretrained("compact")
    pages = {name: scanned(text, i) for i, (name, text) in enumerate(PAGES.items())}
    seen = encoder.encode_images(list(pages.values()))
    near = np.stack([encoder.encode_query(question) for question in ASKED]) @ np.asarray(seen).T
    orders = ranked(DemoStore(Path(folder)), encoder)

    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    top, bottom = left.subplots(2, 1, height_ratios=(1.5, 1))
    top.imshow(pages["pump"], cmap="gray", vmin=0, vmax=255)
    top.set_axis_off()
    top.set_title("one of four scanned pages")
    bottom.imshow(near, cmap="Oranges", aspect="auto", vmin=0, vmax=1)
    for (q, p), value in np.ndenumerate(near):
        bottom.text(p, q, f"{value:.2f}", ha="center", va="center")
    bottom.set_xticks(range(len(pages)), list(pages))
    bottom.set_yticks(range(len(ASKED)), list(ASKED))
    bottom.set_title("typed questions (rows), pages (columns): cosine", fontsize=11)

    axes = right.subplots()
    axes.set_axis_off()
    axes.set_title(f"“{QUESTION}”\nin the documentation of Python (✓ answers it)")
    width = 1 / len(orders)
    for column, (name, found) in enumerate(orders.items()):
        x = column * width
        axes.text(x, 0.95, name, weight="bold", transform=axes.transAxes)
        for place, each in enumerate(found):
            right_one = each in KNOWN[QUESTION]
            axes.text(
                x,
                0.85 - 0.15 * place,
                f"{place + 1}  {'✓ ' if right_one else ''}{_short(each)}",
                transform=axes.transAxes,
                color="tab:green" if right_one else "0.25",
                weight="bold" if right_one else "normal",
                fontsize=10,
                va="top",
            )
    figure.savefig(file, dpi=110)
    print(
        {
            "pages_found": int(sum(near.argmax(1) == [*map(list(PAGES).index, ASKED.values())])),
            "of": len(ASKED),
        }
    )
    print(orders)


if __name__ == "__main__":
    main()
