"""``energy-plugin lab sts``: similarity of sentence pairs against human scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, load_encoder, print_json, show_progress, table


def command(
    file: Annotated[
        Path, typer.Argument(help="Tab-separated pairs with score, sentence1 and sentence2.")
    ],
    encoder: Annotated[str, typer.Option(help="Encoder name or folder.")] = "compact",
    font: Annotated[
        list[Path] | None,
        typer.Option(help="Font file: the sentences are read as pictures. Several take turns."),
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Of the fonts, in pixels.")] = 23,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Correlate the encoder's similarity of sentence pairs with human scores."""
    from energy_plugin.evaluation import load_pairs, spearman
    from energy_plugin.evaluation.sts import pair_similarity

    pairs = load_pairs(file)
    texts = list(dict.fromkeys((*pairs.first, *pairs.second)))
    row = {text: i for i, text in enumerate(texts)}
    model, unread = load_encoder(encoder), 0
    if font:
        from energy_plugin.evaluation.sts_images import picture_vectors

        vectors, unread = picture_vectors(model, texts, font, size)
    else:
        vectors = model.encode(texts, show_progress_bar=show_progress())
    similarity = pair_similarity(
        vectors[[row[text] for text in pairs.first]],
        vectors[[row[text] for text in pairs.second]],
    )
    value = spearman(similarity, pairs.scores)
    if as_json:
        print_json({"spearman": value, "pairs": len(pairs.scores), "unread": unread})
        return
    made = table("file", "pairs", "unread", "Spearman")
    made.add_row(file.name, f"{len(pairs.scores):,}", f"{unread:,}", f"{value:.3f}")
    console().print(made)
