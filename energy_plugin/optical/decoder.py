"""OpticalDecoder: page images back to text, by the decoder of published weights.

The vision tokens are those of this package's encoder; the language model behind them is
transformers' own (`unlimited_ocr`, the same network), read from a local folder. No code of the
folder is run and nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from energy_plugin._lazy import optional
from energy_plugin.errors import CheckpointError, InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.optical.config import FullConfig
from energy_plugin.optical.images import Picture, as_pictures
from energy_plugin.optical.modes import AUTO
from energy_plugin.optical.page_encoder import PageEncoder
from energy_plugin.optical.precision import DTYPES
from energy_plugin.optical.typesetting.tiles import check_texts
from energy_plugin.optical.weights.checkpoint import COMPACT, is_compact
from energy_plugin.optical.weights.files import DAMAGE
from energy_plugin.validation import as_device, as_k

IMAGE = "<image>"
PROMPT = "<image>\nFree OCR."  # as the published code writes it
_LOADED = ("UnlimitedOcrForConditionalGeneration", "UnlimitedOcrConfig")


@dataclass(frozen=True)
class Decoded:
    """What was read from one page or several.

    Attributes
    ----------
    text : str
        The text of all pages, with a line break between pages.
    token_ids : tuple of tuple of int
        The generated text tokens of each page, including the end token.
    vision_tokens : tuple of int
        The number of vision tokens that the decoder got for each page.
    finished : bool
        Whether every page ended before the token limit.
    """

    text: str
    token_ids: tuple[tuple[int, ...], ...]
    vision_tokens: tuple[int, ...]
    finished: bool


def vision_config(config: FullConfig) -> dict[str, Any]:
    """Sizes of an encoder under the names of transformers."""
    return {
        "sam_config": {
            "hidden_size": config.sam_width,
            "num_hidden_layers": config.sam_depth,
            "num_attention_heads": config.sam_width // 64,
            "mlp_dim": config.sam_mlp,
            "output_channels": config.neck,
            "global_attn_indexes": list(config.global_blocks),
            "downsample_channels": list(config.compressor),
        },
        "encoder_config": {
            "hidden_size": config.width,
            "intermediate_size": config.mlp,
            "num_hidden_layers": config.depth,
            "num_attention_heads": config.width // 64,
        },
    }


class OpticalDecoder:
    """An encoder of published weights, together with its decoder.

    Made by `from_pretrained`.

    Parameters
    ----------
    encoder : PageEncoder
        What reads the pages.
    model : transformers.UnlimitedOcrForConditionalGeneration
        What writes the text; its own vision part is not used.
    tokenizer : tokenizers.Tokenizer
    """

    def __init__(self, encoder: PageEncoder, model: Any, tokenizer: Any) -> None:
        self.encoder, self.model, self.tokenizer = encoder, model, tokenizer

    @classmethod
    @neutral()
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        mode: str = "base",
        device: str | None = None,
        dtype: str = "float32",
    ) -> OpticalDecoder:
        """Load encoder and decoder of a published checkpoint from a folder.

        Parameters
        ----------
        folder : str or Path
            With ``config.json``, ``tokenizer.json`` and safetensors files, one or several with
            an index. It must be on this machine; nothing is fetched.
        mode : {"tiny", "small", "base", "large", "gundam"}, default="base"
            Resolution of the pages.
        device : str, optional
            ``cuda``, ``mps`` or ``cpu``; the default is the first of these that is available.
        dtype : {"float32", "bfloat16"}, default="float32"
            Of weights and products.

        Raises
        ------
        OptionalDependencyError
            transformers is not installed: extra ``decode``.
        CheckpointError
            The folder does not exist, or has only an encoder.
        InvalidInputError
            The encoder has no decoder by design, or the mode or dtype is unknown.
        """
        if str(folder) == COMPACT:
            raise _without_decoder(COMPACT)
        if mode == AUTO:
            raise InvalidInputError(
                f"mode is {mode!r}, expected one resolution: tiny, small, base, large or gundam"
            )
        path = Path(folder)
        if not path.is_dir():
            raise CheckpointError(
                f"{str(folder)!r} is not a folder. The decoder reads a published checkpoint from "
                "this machine; download the repository and name its folder"
            )
        if is_compact(path):
            raise _without_decoder(str(folder))
        _check_decoder(path)
        settings = _read_json(path / "config.json")
        transformers = optional("transformers", "decode")
        if not all(hasattr(transformers, name) for name in _LOADED):
            raise CheckpointError(
                f"transformers {transformers.__version__} has no unlimited_ocr, expected 5.20 or "
                "later; run pip install -U transformers"
            )
        tokenizer = _tokenizer(path / "tokenizer.json")
        found = as_device(device)
        encoder = PageEncoder.load(
            path, name=str(folder), mode=mode, device=str(found), dtype=dtype
        )
        model = _language_model(
            transformers, path, settings, encoder.model.config, DTYPES[encoder.dtype]
        )
        return cls(encoder, model.to(found), tokenizer)

    def decode(
        self,
        texts: str | Sequence[str],
        *,
        prompt: str = PROMPT,
        max_new_tokens: int = 1024,
    ) -> list[Decoded]:
        """Typeset texts and read the pages back.

        Parameters
        ----------
        texts : str or sequence of str
            A text of several pages is read page by page.
        prompt : str
            Contains ``<image>`` exactly once, at the place of the page.
        max_new_tokens : int, default=1024
            Text tokens per page, at most.

        Returns
        -------
        list of Decoded
            One per text.

        Raises
        ------
        InvalidInputError
            A text is empty, or the prompt does not name the image once.
        """
        pages = [list(self.encoder.pages(text)) for text in check_texts(texts)]
        return [self._decoded(some, prompt, max_new_tokens) for some in pages]

    def decode_images(
        self,
        images: Sequence[Picture],
        *,
        prompt: str = PROMPT,
        max_new_tokens: int = 1024,
    ) -> list[Decoded]:
        """Read page images.

        Parameters
        ----------
        images : sequence of PIL images, (h, w) or (h, w, 3) uint8 arrays, or paths
        prompt, max_new_tokens
            See `decode`.

        Returns
        -------
        list of Decoded
            One per image.

        Raises
        ------
        InvalidInputError
            An image cannot be opened, or the prompt does not name the image once.
        """
        return [self._decoded([image], prompt, max_new_tokens) for image in as_pictures(images)]

    @neutral()
    def _decoded(self, pages: Sequence[Picture], prompt: str, limit: int) -> Decoded:
        limit = as_k(limit, name="max_new_tokens")
        ids, counts = [], []
        for page in pages:
            before, after = self._prompt(prompt)
            vision = torch.from_numpy(self.encoder.sequence(page))
            table = self.model.get_input_embeddings()
            given = [table(before), table(after)]
            vision = vision.to(given[0].device, given[0].dtype)
            embedded = torch.cat([given[0], vision, given[1]])[None]
            made = self.model.generate(
                inputs_embeds=embedded,
                attention_mask=torch.ones(
                    embedded.shape[:2], dtype=torch.long, device=vision.device
                ),
                max_new_tokens=limit,
                do_sample=False,
                num_beams=1,
                use_cache=True,
            )
            ids.append(tuple(made[0].tolist()))
            counts.append(len(vision))
        ends = self._ends()
        return Decoded(
            "\n".join(self.tokenizer.decode(list(some)).strip() for some in ids),
            tuple(ids),
            tuple(counts),
            all(some and some[-1] in ends for some in ids),
        )

    def _prompt(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Token numbers before and after the image; the first is the beginning of the text."""
        parts = prompt.split(IMAGE)
        if len(parts) != 2:
            raise InvalidInputError(
                f"prompt is {prompt!r}, expected {IMAGE} exactly once, as the place of the page"
            )
        encoded = [self.tokenizer.encode(part, add_special_tokens=False).ids for part in parts]
        begin = self.model.config.text_config.bos_token_id
        before = ([] if begin is None else [begin]) + encoded[0]
        device = self.model.get_input_embeddings().weight.device
        first, last = (
            torch.tensor(part, dtype=torch.long, device=device) for part in (before, encoded[1])
        )
        return first, last

    def _ends(self) -> set[int]:
        end = self.model.generation_config.eos_token_id
        return set() if end is None else {end} if isinstance(end, int) else set(end)


def _without_decoder(name: str) -> InvalidInputError:
    return InvalidInputError(
        f"{name!r} is a compact encoder, which has no decoder; name a folder with published weights"
    )


def _check_decoder(path: Path) -> None:
    """Refuse a folder without the tensors of a decoder, before anything large is read."""
    keys: set[str] = set()
    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as opened:
                keys |= set(opened.keys())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is not a readable safetensors file: {error}") from error
    if not any(key.endswith("lm_head.weight") for key in keys):
        raise CheckpointError(
            f"{path} has an encoder without a decoder: no tensor is called lm_head.weight. An "
            "exported encoder file has no decoder; name the folder of the complete checkpoint"
        )
    missing = [name for name in ("config.json", "tokenizer.json") if not (path / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{path} has no {' and no '.join(missing)}, which the decoder needs; download the "
            "repository again"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"a {type(found).__name__}, expected an object")
    except (*DAMAGE, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error!r}") from error
    return found


def _tokenizer(path: Path) -> Any:
    try:
        found = optional("tokenizers", "decode").Tokenizer.from_file(str(path))
    except ImportError:
        raise
    except Exception as error:  # tokenizers raises nothing more exact
        raise CheckpointError(f"{path} is not a readable tokenizer: {error}") from error
    found.no_truncation()
    found.no_padding()
    return found


def _text_settings(settings: dict[str, Any], source: Path) -> dict[str, Any]:
    """Sizes of the language model, as ``config.json`` gives them.

    Where no sliding window is written, as in the first published network, every token attends
    to all before it; transformers' default would be a window.
    """
    text = settings.get("text_config") or settings.get("language_config")
    if not isinstance(text, dict):
        raise CheckpointError(
            f"{source / 'config.json'} describes no language model: expected text_config or "
            "language_config"
        )
    text = {key: value for key, value in text.items() if key not in ("model_type", "auto_map")}
    window = text.get("sliding_window") or settings.get("sliding_window")
    if window:
        text["sliding_window"] = window
    else:
        text.pop("sliding_window", None)
        text["layer_types"] = ["full_attention"] * int(text.get("num_hidden_layers", 12))
    return text


def _language_model(
    transformers: Any, path: Path, settings: dict[str, Any], sizes: FullConfig, dtype: torch.dtype
) -> Any:
    text = _text_settings(settings, path)
    logging = transformers.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = transformers.UnlimitedOcrConfig(
            vision_config=vision_config(sizes),
            text_config=text,
            tie_word_embeddings=bool(settings.get("tie_word_embeddings", False)),
        )
        model, report = transformers.UnlimitedOcrForConditionalGeneration.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
        )
    except (*DAMAGE, OSError, RuntimeError) as error:
        raise CheckpointError(f"transformers cannot read {path}: {error}") from error
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
    if report["missing_keys"] or report["mismatched_keys"]:
        lacking = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        raise CheckpointError(
            f"{path} does not fit its config.json: {len(lacking)} tensors are missing or "
            f"have another shape, first {lacking[:5]}"
        )
    for part in ("vision_tower", "multi_modal_projector"):  # the encoder reads the pages
        setattr(model.model, part, None)
    return model.eval()
