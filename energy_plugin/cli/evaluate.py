"""``energy-plugin eval``: cosine, energy and the arrowspace preset on judged collections."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_plugin.cli import evaluate_pages, evaluate_tables
from energy_plugin.cli.console import (
    console,
    heading,
    print_json,
    show_progress,
    warn,
)
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig
    from energy_plugin.evaluation import CollectionVectors, JudgedCollection, SetReport

Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...",
        help="Judged collections: corpus.jsonl, queries.jsonl, qrels.tsv (BEIR layout).",
    ),
]
Vectors = Annotated[
    Path | None,
    typer.Option(
        help="Precomputed vectors (.npz: corpus, queries, corpus_ids, query_ids), or a folder of "
        "DATA.npz; instead of an encoder."
    ),
]
Encoder = Annotated[str, typer.Option(help="Encoder name or folder, if there are no --vectors.")]


SeveralVectors = Annotated[
    list[Path] | None,
    typer.Option(
        help="Precomputed vectors (.npz: corpus, queries, corpus_ids, query_ids), or a folder of "
        "DATA.npz; instead of an encoder. Repeat it for each model."
    ),
]


def command(
    folders: Folders,
    vectors: SeveralVectors = None,
    encoder: Encoder = "compact",
    k: Annotated[int, typer.Option(min=100, help="Depth of the rankings.")] = 1000,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also leave out each term of the recipe in turn.")
    ] = False,
    rerank: Annotated[
        int | None,
        typer.Option(min=1, help="Also rerank cosine's top N, with and without a field."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON file of an EnergyConfig, such as tune --out writes."),
    ] = None,
    save_vectors: Annotated[
        Path | None,
        typer.Option(help="Folder to save vectors in, as NAME.npz, for a later --vectors."),
    ] = None,
    pages: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder with pages.jsonl and the page images of a collection, in the order of "
            "DATA; scores pages against text instead."
        ),
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="With --pages: also measure tesseract or rapidocr.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --pages: use the first N documents.")
    ] = None,
    hybrid: Annotated[
        bool,
        typer.Option(
            "--hybrid",
            help="Also hybrid energy and other rankings: centred cosine, Rocchio, "
            "CSLS, BM25, reciprocal rank fusion, convex sum.",
        ),
    ] = False,
    worst: Annotated[
        bool, typer.Option("--worst", help="List the ten queries that lose most to cosine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score cosine, energy and other rankings on judged collections.

    p is that of a paired randomisation test of nDCG@10 against cosine, two-sided; q is
    Wilcoxon's, corrected for all comparisons of the run (Benjamini and Hochberg).
    """
    if pages:
        evaluate_pages.print_reports(
            evaluate_pages.reports(folders, pages, encoder, peer or [], limit), as_json
        )
        return
    settings = None if config is None else _settings(config)
    options = {"k": k, "config": settings, "ablate": ablate, "rerank_first": rerank}
    options |= {"peers": hybrid, "words": hybrid}
    sources: list[Path | None] = [*vectors] if vectors else [None]
    results = {
        _name(source, encoder): _reports(folders, source, encoder, save_vectors, options)
        for source in sources
    }
    if as_json:
        made = {name: evaluate_tables.as_json(reports) for name, reports in results.items()}
        print_json(next(iter(made.values())) if len(made) == 1 else {"vectors": made})
        return
    for name, reports in results.items():
        if len(results) > 1:
            console().print(heading(f"vectors: {name}"))
        evaluate_tables.print_tables(reports)
        if worst:
            evaluate_tables.print_worst(reports)


def _name(source: Path | None, encoder: str) -> str:
    if source is None:
        return encoder
    path = source.resolve()
    return path.stem if path.is_file() else path.name


def _reports(
    folders: Sequence[Path],
    source: Path | None,
    encoder: str,
    save_vectors: Path | None,
    options: Mapping[str, Any],
) -> list[SetReport]:
    """One report a collection, with the vectors of one model."""
    from energy_plugin.evaluation import evaluate

    reports = []
    for collection, found in judged(folders, source, encoder):
        if save_vectors is not None:
            save_vectors.mkdir(parents=True, exist_ok=True)
            found.save(save_vectors / f"{collection.name}.npz", collection)
        if collection.n_empty:
            warn(f"{collection.name}: {collection.n_empty} documents have no text.")
        report = evaluate(collection, found, show_progress_bar=show_progress(), **options)
        print(f"{collection.name}: {evaluate_tables.line(report)}", file=sys.stderr)
        reports.append(report)
    return reports


def _settings(path: Path) -> EnergyConfig:
    from energy_plugin.energy import EnergyConfig

    try:
        return EnergyConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not a configuration: {error}") from error


def judged(
    folders: Sequence[Path], vectors: Path | None, encoder: str
) -> Iterator[tuple[JudgedCollection, CollectionVectors]]:
    """Each collection with its vectors, embedded when they are asked for."""
    from energy_plugin.evaluation.sources import judged as found

    return found(folders, vectors, encoder, show_progress_bar=show_progress())
