"""``energy-plugin eval``: cosine and energy on judged collections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_plugin.cli.console import (
    console,
    heading,
    load_encoder,
    print_json,
    show_progress,
    table,
    warn,
)
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.evaluation import CollectionVectors, JudgedCollection, SetReport


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Judged collections: corpus.jsonl, queries.jsonl, qrels.tsv (BEIR layout).",
        ),
    ],
    encoder: Annotated[
        str,
        typer.Option(
            help="Encoder name or folder, ready vectors (.npz: corpus, queries, corpus_ids, "
            "query_ids), or a folder of NAME.npz."
        ),
    ] = "compact",
    k: Annotated[int, typer.Option(min=100, help="Depth of the rankings.")] = 1000,
    save_vectors: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the vectors in, as NAME.npz, for a later --encoder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank judged collections by cosine and by energy, and score both."""
    from energy_plugin.evaluation import evaluate, load_collection

    collections = [load_collection(folder) for folder in folders]
    _refuse_twins(collections)
    vectors_of = _Vectors(encoder)
    reports = []
    for collection in collections:
        vectors = vectors_of(collection)
        if save_vectors is not None:
            save_vectors.mkdir(parents=True, exist_ok=True)
            vectors.save(save_vectors / f"{collection.name}.npz", collection)
        if collection.n_empty:
            warn(f"{collection.name}: {collection.n_empty} documents have no text.")
        reports.append(evaluate(collection, vectors, k=k, show_progress_bar=show_progress()))
    if as_json:
        print_json(_as_json(reports))
    else:
        _print_tables(reports)


class _Vectors:
    """Vectors of a collection from whatever ``--encoder`` names; one model for all."""

    def __init__(self, encoder: str) -> None:
        self._name = encoder
        path = Path(encoder)
        ready = path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))
        self._ready = path if ready else None
        self._model: Any = None

    def __call__(self, collection: JudgedCollection) -> CollectionVectors:
        from energy_plugin.evaluation import embed_collection, load_vectors

        if self._ready is not None:
            folder = self._ready.is_dir()
            path = self._ready / f"{collection.name}.npz" if folder else self._ready
            return load_vectors(path, collection)
        self._model = self._model or load_encoder(self._name)
        return embed_collection(collection, self._model, show_progress_bar=show_progress())


def _refuse_twins(collections: Sequence[JudgedCollection]) -> None:
    names = [collection.name for collection in collections]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise InvalidInputError(
            f"Several folders are called {', '.join(twins)}; their results could not be told "
            "apart. Rename one or evaluate them one by one."
        )


def _mean(reports: Sequence[SetReport]) -> dict[str, dict[str, float]]:
    return {
        ranking: {name: fmean(getattr(r, ranking)[name] for r in reports) for name in r0}
        for ranking, r0 in (("cosine", reports[0].cosine), ("energy", reports[0].energy))
    }


def _as_json(reports: Sequence[SetReport]) -> dict[str, Any]:
    if len(reports) == 1:
        return reports[0].to_dict()
    return {"sets": {r.name: r.to_dict() for r in reports}, "mean": _mean(reports)}


def _print_tables(reports: Sequence[SetReport]) -> None:
    out = console()
    for report in reports:
        sizes = f"{report.documents:,} documents, {report.queries:,} judged queries"
        times = (
            f"energy fit {report.seconds['fit']:.1f} s, "
            f"{1000 * report.seconds['energy'] / report.queries:.1f} ms/query"
        )
        out.print(heading(f"{report.name}: {sizes}; {times}"))
        made = table("measure", "cosine", "energy", "change", "win/tie/loss", "p")
        for name, result in report.comparison.items():
            made.add_row(
                *(name, f"{report.cosine[name]:.3f}", f"{report.energy[name]:.3f}"),
                f"{result.difference:+.3f}",
                f"{result.win}/{result.tie}/{result.loss}",
                f"{result.p_value:.3f}" if result.p_value >= 0.0005 else "< .001",
            )
        out.print(made)
    if len(reports) > 1:
        mean = _mean(reports)
        out.print(heading(f"mean of {len(reports)} sets"))
        made = table("measure", "cosine", "energy", "change")
        for name, value in mean["cosine"].items():
            energy = mean["energy"][name]
            made.add_row(name, f"{value:.3f}", f"{energy:.3f}", f"{energy - value:+.3f}")
        out.print(made)
