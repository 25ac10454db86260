"""Architecture of the encoder as data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from energy_plugin.errors import InvalidInputError

FORMAT_VERSION = 2  # of compact configurations
WIDEST = 1 << 16  # channels, heads and tiles
MOST_BLOCKS = 256
SAM_EPS = 1e-6  # of every LayerNorm of the window-attention part
CLIP_EPS = 1e-5  # of every LayerNorm of the global part


@dataclass(frozen=True)
class FullConfig:
    """The published DeepEncoder; the defaults are its sizes. A head is 64 channels wide.

    Attributes
    ----------
    sam_width, sam_mlp, sam_depth : int
        Window attention: channels, hidden channels of an MLP, blocks.
    sam_grid : int
        Side of its position table, in patches of 16 px.
    window : int
        Side of an attention window, in patches.
    global_blocks : tuple of int
        Blocks of the window part that attend across the page.
    neck : int
        Channels between window attention and compressor.
    compressor : tuple of two int
        Channels after each of its two convolutions; the second is `width` too.
    width, mlp, depth : int
        Global attention: channels, hidden channels of an MLP, blocks.
    grid : int
        Side of its position table, in vision tokens.
    projector : int
        Width of a vision token.
    """

    sam_width: int = 768
    sam_mlp: int = 3072
    sam_depth: int = 12
    sam_grid: int = 64
    window: int = 14
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    neck: int = 256
    compressor: tuple[int, int] = (512, 1024)
    width: int = 1024
    mlp: int = 4096
    depth: int = 24
    grid: int = 16
    projector: int = 1280

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives, with the format version."""
        values = asdict(self)
        for name in ("global_blocks", "compressor"):
            values[name] = list(values[name])
        return {"format_version": 1, "size": "full", **values}


@dataclass(frozen=True)
class DeepEncoderConfig:
    """A DeepEncoder: attention over lines, 16× compressor, attention over tokens, projector.

    The sizes are those of `compact`. The compressor is split in two: 4× before the first
    attention (the four 16×16 px patches of a text line become one line token) and 4× after
    it (the four lines of a tile become one vision token), so that the first attention reads
    lines, not strokes.

    Attributes
    ----------
    patch_dim : int
        Channels of the 16×16 px patch embedding.
    line_hidden : tuple of int
        Hidden channels of the 4× line compressor, layer by layer.
    glossary : int
        Slots of the memory that line tokens are read from; 0 for line tokens straight from
        the hidden channels, each line by itself.
    width : int
        Channels of line tokens, vision tokens and the embedding.
    heads : int
        Attention heads, local and global.
    mlp : int
        Hidden channels of a block's MLP.
    local_depth, global_depth : int
        Blocks before the second half of the compressor, and after it.
    registers : int
        Tokens without a place on the page that the first attention may use; 0 for
        attention inside each tile alone.
    page_tiles : int
        Vision tokens of the largest page (8×8 tiles).
    layer_norm_eps : float
        Epsilon of every LayerNorm.
    pixel_mean, pixel_std : float
        Pixels enter as (grey / 255 − mean) / std. Mean 1, std −1 is ink: paper is 0.
    """

    patch_dim: int = 128
    line_hidden: tuple[int, ...] = (1536, 1536, 256)
    glossary: int = 24_000
    width: int = 384
    heads: int = 12
    mlp: int = 1536
    local_depth: int = 6
    global_depth: int = 1
    registers: int = 2
    page_tiles: int = 64
    layer_norm_eps: float = 1e-12
    pixel_mean: float = 1.0
    pixel_std: float = -1.0

    def __post_init__(self) -> None:
        """Refuse sizes that no encoder has, before anything of that size is made.

        Raises
        ------
        InvalidInputError
            A field is not of its type, or out of range.
        """
        object.__setattr__(self, "line_hidden", _whole_numbers(self.line_hidden))
        most = {"local_depth": MOST_BLOCKS, "global_depth": MOST_BLOCKS}
        for name in ("patch_dim", "width", "heads", "mlp", "local_depth", "global_depth"):
            _check_whole(name, getattr(self, name), most.get(name, WIDEST))
        _check_whole("page_tiles", self.page_tiles, WIDEST)
        for name in ("glossary", "registers"):
            _check_whole(name, getattr(self, name), WIDEST, least=0)
        for value in self.line_hidden:
            _check_whole("line_hidden", value, WIDEST)
        for name in ("layer_norm_eps", "pixel_mean", "pixel_std"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InvalidInputError(f"{name} of an encoder is {value!r}, expected a number")
        if self.glossary and not self.line_hidden:
            raise InvalidInputError(
                f"line_hidden of an encoder with a glossary of {self.glossary} slots is empty, "
                "expected at least the channels of its readings"
            )
        if self.layer_norm_eps <= 0 or self.pixel_std == 0 or self.width % self.heads:
            raise InvalidInputError(
                f"an encoder of width {self.width} with {self.heads} heads, layer_norm_eps "
                f"{self.layer_norm_eps} and pixel_std {self.pixel_std}; expected a width that the "
                "heads divide, a positive epsilon and a deviation that is not 0"
            )

    @classmethod
    def compact(cls) -> DeepEncoderConfig:
        """The bundled size."""
        return cls()

    @staticmethod
    def full() -> FullConfig:
        """The published size: 401,372,160 parameters."""
        return FullConfig()

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives, with the format version."""
        values = asdict(self) | {"line_hidden": list(self.line_hidden)}
        return {"format_version": FORMAT_VERSION, **values}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DeepEncoderConfig:
        """Read what `to_dict` wrote.

        Raises
        ------
        InvalidInputError
            The format version or a field is unknown, or a value is out of range.
        """
        if not isinstance(values, dict):
            raise InvalidInputError(f"an encoder configuration is {values!r}, expected a mapping")
        given = dict(values)
        version = given.pop("format_version", None)
        unknown = set(given) - {field.name for field in fields(cls)}
        if version not in (1, FORMAT_VERSION) or unknown:
            raise InvalidInputError(
                f"an encoder configuration of format {version} with unknown fields "
                f"{sorted(map(str, unknown))}; this release reads formats up to {FORMAT_VERSION}. "
                "If it is newer, upgrade energy-plugin; otherwise train again"
            )
        return cls(**(_FIRST_FORMAT | given if version == 1 else given))


# What the first format knew nothing of, and its sizes where it left them out.
_FIRST_FORMAT = {
    **{"line_hidden": (1536, 3072), "glossary": 0, "registers": 0},
    **{"local_depth": 2, "global_depth": 4},
}


def _whole_numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)) or len(values) > MOST_BLOCKS:
        raise InvalidInputError(f"line_hidden of an encoder is {values!r}, expected whole numbers")
    return tuple(values)


def _check_whole(name: str, value: Any, most: int, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidInputError(f"{name} of an encoder is {value!r}, expected {least} to {most}")
