"""The recogniser of print: strips of text lines in, characters out.

Shapes: B strips, H = 24 pixel rows, W pixel columns, C characters and the blank.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin.optical.printed.alphabet import CHARACTERS

STRIP_ROWS = 24
X_HEIGHT = 9.0  # pixel rows of a lower-case x on a strip
BASELINE = 17.0  # rows above the foot of a letter without descender
COLUMNS_A_FRAME = 4
ANSWERS_A_FRAME = 2
COLUMNS_AN_ANSWER = COLUMNS_A_FRAME // ANSWERS_A_FRAME


@dataclass(frozen=True)
class RecogniserConfig:
    """Sizes of a recogniser.

    Attributes
    ----------
    stem : tuple of int
        Channels of the two convolutions over pixels.
    width : int
        Channels along the line.
    dilations : tuple of int
        One convolution along the line each.
    characters : str
        Answers, after the blank.
    """

    stem: tuple[int, int] = (16, 32)
    width: int = 192
    dilations: tuple[int, ...] = (1, 1, 2, 1, 4, 1, 8, 1)
    characters: str = CHARACTERS

    def to_dict(self) -> dict[str, Any]:
        """As JSON primitives."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> RecogniserConfig:
        """From JSON primitives."""
        return cls(
            stem=tuple(found["stem"]),
            width=int(found["width"]),
            dilations=tuple(found["dilations"]),
            characters=str(found["characters"]),
        )


class Recogniser(nn.Module):
    """Convolutions over pixels, then along the line; two answers every four columns.

    Connectionist temporal classification (Graves et al., 2006) aligns answers with
    characters. Each convolution ends in a bias: batch normalisation is for training and
    folded away in the weights that ship.

    Parameters
    ----------
    config : RecogniserConfig
    normalised : bool, default=False
        With batch normalisation, as in training.
    """

    def __init__(self, config: RecogniserConfig, *, normalised: bool = False) -> None:
        super().__init__()
        self.config = config
        first, second = config.stem
        bias = not normalised
        self.pixels = nn.ModuleList(
            [
                nn.Conv2d(1, first, 3, stride=2, padding=1, bias=bias),
                nn.Conv2d(first, second, 3, stride=2, padding=1, bias=bias),
            ]
        )
        rows = STRIP_ROWS // COLUMNS_A_FRAME
        self.joined = nn.Conv2d(second, config.width, (rows, 3), padding=(0, 1), bias=bias)
        self.along = nn.ModuleList(
            nn.Conv2d(
                config.width, config.width, (1, 3), padding=(0, step), dilation=(1, step), bias=bias
            )
            for step in config.dilations
        )
        self.answers = nn.Linear(config.width, ANSWERS_A_FRAME * (len(config.characters) + 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(first), nn.BatchNorm2d(second)] if normalised else []
        )
        self.norms.extend(
            nn.BatchNorm2d(config.width) for _ in range(normalised * (1 + len(config.dilations)))
        )

    def forward(self, strips: Tensor) -> Tensor:
        """Strips (B, H, W), 0 paper to 1 ink, W a multiple of 4, to logits (B, W / 2, C)."""
        norms = iter(self.norms) if len(self.norms) else None

        def normed(x: Tensor) -> Tensor:
            return F.relu(x if norms is None else next(norms)(x))

        x = strips[:, None].contiguous(memory_format=torch.channels_last)
        for layer in self.pixels:
            x = normed(layer(x))
        x = normed(self.joined(x))  # (B, E, 1, W / 4)
        for layer in self.along:
            x = x + normed(layer(x))
        out: Tensor = self.answers(x[:, :, 0].transpose(1, 2))
        return out.unflatten(2, (ANSWERS_A_FRAME, -1)).flatten(1, 2)

    def folded(self) -> Recogniser:
        """The same function without batch normalisation."""
        out = Recogniser(self.config)
        convolutions: list[Any] = [*self.pixels, self.joined, *self.along]
        targets: list[Any] = [*out.pixels, out.joined, *out.along]
        norms: list[Any] = list(self.norms)
        with torch.no_grad():
            for source, norm, target in zip(convolutions, norms, targets, strict=True):
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                shape = (-1, *[1] * (source.weight.dim() - 1))
                target.weight.copy_(source.weight * scale.view(shape))
                target.bias.copy_(norm.bias - norm.running_mean * scale)
            out.answers.load_state_dict(self.answers.state_dict())
        return out.eval()
