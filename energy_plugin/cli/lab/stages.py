"""``energy-plugin lab stages``: tokens a word against nDCG, stage by stage."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from energy_plugin._lazy import optional
from energy_plugin.cli.console import console, load_encoder, print_json, show_progress, table

if TYPE_CHECKING:
    from energy_plugin.evaluation.collection import JudgedCollection
    from energy_plugin.evaluation.stages import StageScore

Scores = dict[str, dict[str, "StageScore"]]


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Judged collections in BEIR layout."),
    ],
    encoder: Annotated[str, typer.Option(help="Compact encoder: name or file.")] = "compact",
    teacher_vectors: Annotated[
        Path | None,
        typer.Option(help="Folder of the text teacher's NAME.npz, as a row to compare with."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Image file of a plot.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank by plain cosine with the tokens of each stage of a compact encoder, pooled alike."""
    from energy_plugin.evaluation import load_collection
    from energy_plugin.evaluation.stages import stage_scores

    model = load_encoder(encoder)
    found: Scores = {}
    for folder in folders:
        collection = load_collection(folder)
        scores = dict(stage_scores(collection, model, show_progress_bar=show_progress()))
        if teacher_vectors is not None:
            scores = {"teacher": _teacher(collection, teacher_vectors), **scores}
        found[collection.name] = scores
    if plot is not None:
        _draw(found, plot)
    if as_json:
        print_json(
            {
                name: {
                    stage: {"tokens_per_word": score.tokens_per_word, "ndcg@10": score.ndcg}
                    for stage, score in scores.items()
                }
                for name, scores in found.items()
            }
        )
        return
    made = table("stage", "tokens/word", *found, "mean nDCG@10")
    for stage in next(iter(found.values())):
        row = [held[stage] for held in found.values()]
        made.add_row(
            stage,
            f"{fmean(score.tokens_per_word for score in row):.2f}",
            *(f"{score.ndcg:.3f}" for score in row),
            f"{fmean(score.ndcg for score in row):.3f}",
        )
    console().print(made)


def _teacher(collection: JudgedCollection, folder: Path) -> StageScore:
    """The teacher's published vectors; its tokens are word pieces, as its tokenizer counts."""
    from energy_plugin.evaluation import load_vectors
    from energy_plugin.evaluation.ranking import cosine_ndcg
    from energy_plugin.evaluation.stages import StageScore, words_of
    from energy_plugin.optical.training.teacher import Teacher

    vectors = load_vectors(folder / f"{collection.name}.npz", collection)
    texts = list(collection.corpus.values())
    pieces = sum(
        len(encoding.ids) + sum(len(part.ids) for part in encoding.overflowing)
        for encoding in Teacher().tokenizer.encode_batch(texts, add_special_tokens=False)
    )
    ndcg = cosine_ndcg(collection, vectors.corpus, vectors.queries)
    return StageScore(pieces / max(words_of(texts), 1), ndcg)


def _draw(found: Scores, path: Path) -> None:
    figure = optional("matplotlib.figure", "eval").Figure(
        figsize=(7, 4), dpi=120, layout="constrained"
    )
    axes = figure.add_subplot()
    stages = list(next(iter(found.values())))
    markers = dict(zip(stages, "*soD^" if "teacher" in stages else "soD^", strict=True))
    for place, (name, scores) in enumerate(found.items()):
        colour = f"C{place}"
        compressed = [scores[stage] for stage in ("attention", "compressor", "page")]
        axes.plot(
            [score.tokens_per_word for score in compressed],
            [score.ndcg for score in compressed],
            color=colour,
            linewidth=1,
            label=name,
        )
        for stage, marker in markers.items():
            score = scores[stage]
            axes.plot(score.tokens_per_word, score.ndcg, marker, color=colour, alpha=0.8)
    for stage, marker in markers.items():
        axes.plot([], [], marker, color="grey", label=stage)
    axes.set(xlabel="tokens a word", ylabel="nDCG@10, plain cosine", ylim=(0, None))
    axes.set_xlim(0, None)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
