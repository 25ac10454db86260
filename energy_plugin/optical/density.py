"""How much text a vision token stands for, and how many bits text, page and tokens hold.

Shannon entropies are of single symbols, H = −Σ p log₂ p over their frequencies: of a text
bits a character; of a page bits a pixel; of tokens bits a component, each component being
standardised over the text's tokens as a whole and put into 256 bins from −4σ to 4σ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.modes import MODES, PAGE_MODES, PATCH, as_mode
from energy_plugin.optical.typesetting.page import PageTypesetter

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"[^\W\d_a-zA-Z]|[a-zA-Z]+|\d+|[^\w\s]|_")
_LETTERS = 6  # letters of a Latin-script word piece
_DIGITS = 3
BINS = 256


def text_tokens(text: str) -> int:
    """Text tokens by a rule, for use without a tokenizer.

    A run of Latin letters counts one for every six begun, of digits one for every three
    begun, any other letter or sign one. docs/optical.md compares it with a tokenizer.
    """
    count = 0
    for piece in _TOKEN.findall(text):
        width = _DIGITS if piece[0].isdigit() else _LETTERS
        count += -(-len(piece) // width)
    return count


def entropy(symbols: ArrayLike) -> float:
    """Shannon entropy of the distribution of symbols, in bits a symbol; 0 of none."""
    values = np.asarray(symbols).ravel()
    if not values.size:
        return 0.0
    _, counts = np.unique(values, return_counts=True)
    share = counts / counts.sum()
    return float(abs((share * np.log2(share)).sum()))


def token_entropy(tokens: ArrayLike) -> float:
    """Bits a component of vision tokens (n, d), each in 256 bins from −4σ to 4σ."""
    values = np.asarray(tokens, dtype=np.float64)
    spread = values.std()
    if not spread:
        return 0.0
    scaled = (values - values.mean()) / spread
    return entropy(np.clip(((scaled + 4) / 8 * BINS).astype(int), 0, BINS - 1))


@dataclass(frozen=True)
class Compression:
    """Compression of one text on the pages of one mode.

    Attributes
    ----------
    mode : str
    characters, words, text_tokens : int
        Of the text.
    pages : int
    patches : int
        16×16 px patches of the pages.
    vision_tokens : int
        Tokens that the pages give, whether they show something or not.
    shown_tokens : int
        Those that show something.
    sequence_tokens : int
        Tokens in the published layout, with newlines and separators.
    text_entropy : float
        Bits a character.
    page_entropy : float
        Bits a pixel.
    tokens_entropy : float or None
        Bits a component of the tokens that show something; None without an encoder.
    """

    mode: str
    characters: int
    words: int
    text_tokens: int
    pages: int
    patches: int
    vision_tokens: int
    shown_tokens: int
    sequence_tokens: int
    text_entropy: float
    page_entropy: float
    tokens_entropy: float | None = None

    @property
    def words_per_token(self) -> float:
        """Words a vision token stands for."""
        return self.words / self.vision_tokens

    @property
    def text_tokens_per_token(self) -> float:
        """Text tokens a vision token stands for: the optical compression."""
        return self.text_tokens / self.vision_tokens

    @property
    def characters_per_token(self) -> float:
        """Characters a vision token stands for."""
        return self.characters / self.vision_tokens

    @property
    def spatial(self) -> float:
        """Patches that become one vision token."""
        return self.patches / self.vision_tokens

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives, ratios included."""
        ratios = ("words_per_token", "text_tokens_per_token", "characters_per_token", "spatial")
        return asdict(self) | {name: round(getattr(self, name), 4) for name in ratios}


def compression(
    text: str,
    mode: str = "tiny",
    *,
    encoder: Any | None = None,
    tokenizer: Callable[[str], int] | None = None,
) -> Compression:
    """Measure a text on the pages of a mode, in the `page` layout.

    Parameters
    ----------
    text : str
    mode : {"tiny", "small", "base", "large"}
    encoder : OpticalEncoder, optional
        Full encoder whose tokens are measured too; it costs a forward pass a page.
    tokenizer : callable, optional
        Gives the number of text tokens; `text_tokens` unless given.

    Raises
    ------
    InvalidInputError
        Nothing to typeset, or a mode with tiles.
    """
    chosen = as_mode(mode)
    if chosen.tile:
        raise InvalidInputError(f"mode {mode!r} is for images; expected one of {PAGE_MODES}")
    if not text.strip():
        raise InvalidInputError("text is empty or white space, so there is nothing to typeset")
    pages = PageTypesetter(chosen.base).pages(text)
    grid = chosen.grid
    shown = sum(_shown(page, grid) for page in pages)
    tokens = None
    if encoder is not None:
        tokens = token_entropy(encoder.tokens_of_pages(pages))
    return Compression(
        mode=chosen.name,
        characters=len(text),
        words=len(_WORD.findall(text)),
        text_tokens=(tokenizer or text_tokens)(text),
        pages=len(pages),
        patches=len(pages) * (chosen.base // PATCH) ** 2,
        vision_tokens=len(pages) * chosen.content_tokens(),
        shown_tokens=shown,
        sequence_tokens=len(pages) * chosen.tokens(),
        text_entropy=entropy(list(text)),
        page_entropy=entropy(np.stack(pages)),
        tokens_entropy=tokens,
    )


def _shown(page: NDArray[np.uint8], grid: int) -> int:
    areas = page.reshape(grid, len(page) // grid, grid, -1)
    return int((areas < 255).any((1, 3)).sum())


def plot(measured: Sequence[Compression], axes: Any | None = None) -> Any:
    """Bars of text tokens and words a vision token by mode; several texts are averaged.

    Parameters
    ----------
    measured : sequence of Compression
    axes : matplotlib Axes, optional
        New ones unless given.

    Returns
    -------
    matplotlib Axes
    """
    from energy_plugin._lazy import optional

    if axes is None:
        figure = optional("matplotlib.figure", "eval").Figure(figsize=(6.4, 3.6), layout="tight")
        axes = figure.add_subplot()
    names = [name for name in MODES if any(found.mode == name for found in measured)]
    for shift, (ratio, label) in enumerate(
        (("text_tokens_per_token", "text tokens"), ("words_per_token", "words"))
    ):
        heights = [
            np.mean([getattr(found, ratio) for found in measured if found.mode == name])
            for name in names
        ]
        places = np.arange(len(names)) + (shift - 0.5) * 0.38
        bars = axes.bar(places, heights, width=0.38, label=f"{label} a vision token")
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    labels = [f"{name}\n{MODES[name].content_tokens()} tokens a page" for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.set_ylabel("compression")
    axes.legend(frameon=False)
    return axes
