"""Second stage: texts to the teacher's readings.

Three losses on every batch: each vision token to the mean last hidden state of the
word pieces in its tile, the pooled embedding to the teacher's by angle, and the
batch's similarities to the teacher's (Kullback-Leibler divergence of the rows).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.training.shards import Shard
from energy_plugin.optical.training.teacher import LAYERS, Teacher, block_weights
from energy_plugin.optical.typesetting.tiles import TILE_LINES

TEMPERATURE = 0.05


def start_from_teacher(model: CompactEncoder, teacher: Teacher) -> None:
    """Give the attention stages the teacher's layers, in order, and the rest an identity.

    Registers start as the teacher's first and last token. The compressor starts as the mean
    of a tile's lines, the projector as the local half of its input, so that the encoder
    starts as the teacher reading lines for pieces; blocks beyond the teacher's repeat its
    last one.
    """
    weights, width = teacher.weights, model.config.width
    with torch.no_grad():
        for layer, block in enumerate([*model.local.blocks, *model.globe.blocks]):
            block.load_state_dict(block_weights(weights, min(layer, LAYERS - 1)))
        positions = weights["embeddings.position_embeddings.weight"]
        words = weights["embeddings.word_embeddings.weight"]
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        places = model.local.pos_embed
        lines = len(places) - model.config.registers
        places.zero_()
        last = min(lines + 1, len(positions) - 1)
        for register, (token, position) in enumerate((("[CLS]", 0), ("[SEP]", last))):
            if register < model.config.registers:
                places[register] = words[teacher.tokenizer.token_to_id(token)]
                places[register] += positions[position]
        known = min(lines, len(positions) - 1)
        places[model.config.registers :][:known] = positions[1 : 1 + known]
        places.add_(kind)
        for part in ("weight", "bias"):
            model.local.pre_layernorm.get_parameter(part).copy_(
                weights[f"embeddings.LayerNorm.{part}"]
            )
        eye = torch.eye(width)
        model.local.compressor.weight.copy_(eye.repeat(1, TILE_LINES) / TILE_LINES)
        model.projector.weight.copy_(torch.cat([torch.zeros(width, width), eye], dim=1))
        model.projector.bias.zero_()


class Batch:
    """Some texts of a shard, lines renumbered to those in use."""

    def __init__(
        self, shard: Shard, texts: np.ndarray, first_tile: np.ndarray, page_tiles: int
    ) -> None:
        where = shard.line_of_tile.device
        counts = np.diff(first_tile)[texts]
        tiles = torch.from_numpy(
            np.concatenate(
                [np.arange(a, a + n) for a, n in zip(first_tile[texts], counts, strict=True)]
            )
        ).to(where)
        self.tiles_of_text = torch.from_numpy(counts).to(where)
        pages = [n for count in counts for n in _page_sizes(int(count), page_tiles)]
        self.tiles_of_page = torch.tensor(pages, device=where)
        used, self.line_of_tile = torch.unique(shard.line_of_tile[tiles], return_inverse=True)
        self.lines = shard.lines.images(used)
        self.inked_lines = (shard.line_of_tile[tiles] > 0).sum(1)
        self.tile_targets = shard.tile_targets[tiles].float()
        self.tile_pieces = shard.tile_pieces[tiles]
        self.embeddings = shard.embeddings[texts].float()


def _page_sizes(tiles: int, page_tiles: int) -> list[int]:
    """Tiles of each page of a text."""
    full, rest = divmod(tiles, page_tiles)
    return [page_tiles] * full + ([rest] if rest else [])


def batches(shard: Shard, n_tiles: int, page_tiles: int, seed: int) -> Iterator[Batch]:
    """Batches of texts of like length, about `n_tiles` tiles each, in random order."""
    rng = np.random.default_rng(seed)
    counts = shard.tiles_of_text.cpu().numpy()
    first_tile = np.concatenate([[0], np.cumsum(counts)])
    fitting = np.flatnonzero(counts > 0)
    jitter = counts[fitting] * rng.uniform(0.8, 1.25, len(fitting))
    order = fitting[np.argsort(jitter, kind="stable")]
    bins = np.cumsum(counts[order]) // n_tiles
    groups = np.split(order, np.flatnonzero(np.diff(bins)) + 1)
    for place in rng.permutation(len(groups)):
        yield Batch(shard, groups[place], first_tile, page_tiles)


def forward(model: CompactEncoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """Vision tokens (n_tiles, E) and unit embeddings (n_texts, E) in float32."""
    with torch.autocast(batch.lines.device.type, torch.bfloat16):
        tokens = model(batch.lines, batch.line_of_tile, batch.tiles_of_page)
    tokens = tokens.float()
    pooled = model.pool(tokens, batch.inked_lines, batch.tiles_of_text)
    return tokens, F.normalize(pooled, dim=-1)


def losses(model: CompactEncoder, batch: Batch) -> dict[str, Tensor]:
    """The three terms, and their weighted sum as ``total``."""
    tokens, embeddings = forward(model, batch)
    share = batch.tile_pieces[:, None]
    wrong = ((tokens - batch.tile_targets).square() * share).sum()
    token = wrong / (batch.tile_targets.square() * share).sum()
    angle = 1 - (embeddings * batch.embeddings).sum(-1).mean()
    wanted = F.softmax(batch.embeddings @ batch.embeddings.T / TEMPERATURE, dim=-1)
    got = F.log_softmax(embeddings @ batch.embeddings.T / TEMPERATURE, dim=-1)
    similarity = F.kl_div(got, wanted, reduction="batchmean")
    total = token + 2 * angle + 0.3 * similarity
    return {"total": total, "token": token, "angle": angle, "similarity": similarity}


@torch.inference_mode()
def validate(model: CompactEncoder, held_out: Shard, n_tiles: int) -> dict[str, float]:
    """Cosine to the teacher, and the share of texts that find their own embedding first."""
    page_tiles = model.config.page_tiles
    pairs = [
        (forward(model, batch)[1], batch.embeddings)
        for batch in batches(held_out, n_tiles, page_tiles, seed=0)
    ]
    got, wanted = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    first = (got @ wanted.T).argmax(1) == torch.arange(len(got), device=got.device)
    return {
        "cosine": round((got * wanted).sum(-1).mean().item(), 4),
        "found_first": round(first.float().mean().item(), 4),
    }
