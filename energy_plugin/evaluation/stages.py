"""What each stage of the compact encoder keeps: tokens a word against nDCG.

Every stage's tokens are pooled to one vector a text in the same way, by their lines, and
ranked by plain cosine, so that the rows differ in the stage alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.ranking import cosine_ndcg
from energy_plugin.evaluation.vectors import normalise
from energy_plugin.optical.base import BaseEncoder
from energy_plugin.optical.batching import pooled
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.page_reader import CompactReader
from energy_plugin.optical.typesetting.lines import PageBatch

STAGES = ("lines", "attention", "compressor", "page")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class StageScore:
    """A stage on one collection.

    Attributes
    ----------
    tokens_per_word : float
        Of the documents.
    ndcg : float
        nDCG@10 by plain cosine.
    """

    tokens_per_word: float
    ndcg: float


def words_of(texts: Sequence[str]) -> int:
    """Words of texts, runs of letters and digits."""
    return sum(len(_WORD.findall(text)) for text in texts)


class _StageReader(CompactReader):
    """Pools every stage: four vectors side by side."""

    lines = tiles = 0

    @property
    def dim(self) -> int:
        return len(STAGES) * super().dim

    @torch.inference_mode()
    def read_pooled(self, pages: Sequence[Any]) -> tuple[Tensor, Tensor]:
        batch = PageBatch.of(pages)
        counts = batch.tiles_of_page.to(self.device)
        made = self.stages(batch)
        shown = made.inked[..., None]
        weight = made.inked.sum(1, keepdim=True)
        sums = torch.cat(
            [
                (made.lines * shown).sum(1),
                (made.attended * shown).sum(1),
                made.compressed * weight,
                made.tokens * weight,
            ],
            dim=1,
        )
        page_of_tile = torch.repeat_interleave(counts)
        out = sums.new_zeros(len(counts), sums.shape[1]).index_add_(0, page_of_tile, sums)
        total = sums.new_zeros(len(counts)).index_add_(0, page_of_tile, weight[:, 0].float())
        self.lines += int(made.inked.sum())
        self.tiles += len(made.tokens)
        return out, total


def stage_scores(
    collection: JudgedCollection, encoder: BaseEncoder, *, show_progress_bar: bool = False
) -> Mapping[str, StageScore]:
    """Measure the stages of a compact encoder on a judged collection.

    Parameters
    ----------
    collection : JudgedCollection
    encoder : BaseEncoder
    show_progress_bar : bool, default=False

    Returns
    -------
    mapping of str to StageScore
        ``lines``, line tokens as the stem reads them; ``attention``, after the blocks
        before the compressor; ``compressor``, vision tokens as they leave it; ``page``,
        after global attention and projector, which is the encoder's own vector.

    Raises
    ------
    InvalidInputError
        The encoder is not a compact one.
    """
    if not isinstance(encoder.model, CompactEncoder):
        raise InvalidInputError(
            f"{encoder.name!r} is not a compact encoder; only compact encoders have these stages"
        )

    def read(texts: Mapping[str, str]) -> tuple[list[np.ndarray], _StageReader]:
        reader = _StageReader(encoder.model, encoder.device)
        values = list(texts.values())
        filled = [row for row, text in enumerate(values) if text.strip()]
        vectors = np.zeros((len(values), reader.dim), np.float32)
        if filled:
            pages_of, sizes = encoder._set([values[row] for row in filled])
            found = pooled(reader, pages_of, sizes, 64, show_progress_bar)
            vectors[filled] = found.cpu().numpy()
        return [normalise(part) for part in np.split(vectors, len(STAGES), axis=1)], reader

    documents, reader = read(collection.corpus)
    queries, _ = read(collection.queries)
    words = words_of(list(collection.corpus.values()))
    counts = (reader.lines, reader.lines, reader.tiles, reader.tiles)
    return {
        stage: StageScore(count / max(words, 1), cosine_ndcg(collection, rows, asked))
        for stage, count, rows, asked in zip(STAGES, counts, documents, queries, strict=True)
    }
