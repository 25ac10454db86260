"""The figure of a printed page and its scan, and what is read on them.

Run with ``python docs/reading.py [folder]``.
"""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from energy_plugin import OpticalEncoder

TITLE = "Lift of a swept wing"
COLUMNS = (
    "The pressure over a swept wing was measured in a wind tunnel at three speeds. "
    "Sweep delays the rise of drag, since only the flow across the leading edge counts. "
    "Near the tip the boundary layer thickens and separates first, which shifts the "
    "centre of lift forward.",
    "Fences and a little twist hold the flow at the tip. The theory of thin lifting "
    "surfaces predicts the slope of the lift within four per cent at small angles of "
    "attack, but not the drag, which depends on where the flow becomes turbulent.",
)
TABLE = (("Sweep", "Lift slope", "Drag"), ("0", "5.42", "0.021"), ("35", "4.61", "0.014"))
BOX = "Warning: do not enter the tunnel while the fan turns"
WIDTH, HEIGHT, MARGIN = 1000, 760, 60


def lines(text: str, font: Any, width: int) -> list[str]:
    """A text in lines of at most so many pixels."""
    out: list[str] = []
    for word in text.split():
        if out and font.getlength(f"{out[-1]} {word}") <= width:
            out[-1] += f" {word}"
        else:
            out.append(word)
    return out


def page() -> Image.Image:
    """Two columns, a table and a dark box, in the typeface that Pillow brings along."""
    made = Image.new("L", (WIDTH, HEIGHT), 255)
    draw = ImageDraw.Draw(made)
    body, head = ImageFont.load_default(21), ImageFont.load_default(34)
    draw.text((MARGIN, MARGIN), TITLE, font=head, fill=0)
    for place, text in enumerate(COLUMNS):
        for row, line in enumerate(lines(text, body, 400)):
            draw.text((MARGIN + 460 * place, 130 + 29 * row), line, font=body, fill=0)
    for row, cells in enumerate(TABLE):
        for column, cell in enumerate(cells):
            x, y = MARGIN + 200 * column, 490 + 44 * row
            draw.rectangle((x, y, x + 200, y + 44), outline=0, width=2)
            draw.text((x + 16, y + 8), cell, font=body, fill=0)
    draw.rectangle((MARGIN, 655, WIDTH - MARGIN, 710), fill=45)
    draw.text((MARGIN + 20, 668), BOX, font=body, fill=250)
    return made


def scan(clean: Image.Image, seed: int = 5) -> Image.Image:
    """The page as a bad copier gives it: askew, blurred, unevenly lit, with specks and JPEG."""
    rng = np.random.default_rng(seed)
    turned = clean.rotate(-1.6, Image.Resampling.BICUBIC, fillcolor=255)
    grey = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.9)), float) * 0.75 + 45
    grey -= 45 * np.linspace(0, 1, WIDTH) * np.linspace(1, 0.4, HEIGHT)[:, None]
    grey[rng.random(grey.shape) < 0.0004] = 60
    grey += rng.normal(0, 9, grey.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=40)
    return Image.open(file).convert("L")


def main() -> None:
    """Draw both pages with the boxes of their words, and the words as they are read."""
    folder = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parent / "images")
    encoder = OpticalEncoder.from_pretrained("compact")
    pages = [page(), scan(page())]
    vectors, readings = encoder.encode_and_read(pages)
    text = encoder.encode(" ".join((TITLE, *COLUMNS, *sum(TABLE, ()), BOX)))
    figure = Image.new("RGB", (2 * WIDTH + 20, 2 * HEIGHT + 20), "white")
    small = ImageFont.load_default(19)
    for place, (seen, reading) in enumerate(zip(pages, readings, strict=True)):
        x = place * (WIDTH + 20)
        figure.paste(seen.convert("RGB"), (x, 0))
        draw = ImageDraw.Draw(figure)
        draw.rectangle((x, 0, x + WIDTH - 1, HEIGHT - 1), outline="silver")
        for word in reading.words:
            left, top, right, bottom = word.box
            colour = "green" if word.confidence > 0.95 else "darkorange"
            draw.rectangle((x + left, top, x + right, bottom), outline=colour, width=2)
            draw.text((x + left, HEIGHT + 20 + top), word.text, font=small, fill=colour)
    figure.resize((figure.width // 2, figure.height // 2), Image.Resampling.LANCZOS).save(
        folder / "reading.png"
    )
    print("cosine to the vector of the text:", (vectors @ text).round(3).tolist())
    for reading in readings:
        print(reading.text, "\n")


if __name__ == "__main__":
    main()
