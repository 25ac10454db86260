"""``energy-plugin demo``: this machine's own reference documentation in both hosts."""

from __future__ import annotations

import time
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from energy_plugin.cli.console import console, heading, print_json, show_progress, table, warn
from energy_plugin.cli.demo_answers import HOSTS, QUESTIONS, RANKINGS, Answer, Asker, p50
from energy_plugin.cli.demo_store import ENCODER, DemoStore, Manifest
from energy_plugin.cli.reference_docs import FEWEST, PIP_NAMES, collect, describe_source


def command(
    folder: Annotated[Path, typer.Option(help="Where both databases are kept.")] = Path(".demo"),
    ask: Annotated[
        str | None, typer.Option(help="Ask the stored demonstration one question of your own.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Answers for a question.")] = 3,
    documents: Annotated[int, typer.Option(min=50, help="Most documents to collect.")] = 6000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Embed, store and ask the reference documentation of this Python installation.

    The first run takes minutes; the next ones find its work in --folder.
    """
    store = DemoStore(folder)
    if ask is not None:
        _ask(store, ask, limit, as_json)
        return
    manifest = _make(store, documents, bars=show_progress() or not as_json)
    asker = Asker(store)
    encoder = _encoder()
    vectors = [encoder.encode_query(question) for question in QUESTIONS]
    answers = {
        question: _both(asker, vector, limit)
        for question, vector in zip(QUESTIONS, vectors, strict=True)
    }
    stored = _stored(store, asker, vectors)
    embed_ms = p50(encoder.encode_query, QUESTIONS, rounds=1)
    if as_json:
        print_json(
            {
                "documents": manifest.documents,
                "seconds": manifest.seconds,
                "embed_query_p50_ms": embed_ms,
                "hosts": stored,
                "answers": {q: _as_dicts(found) for q, found in answers.items()},
            }
        )
        return
    for question, found in answers.items():
        _print_answers(question, found)
    _print_stored(manifest, stored, embed_ms, answers)


# Where each host keeps the energy columns.
_COLUMNS: dict[str, dict[str, str]] = {
    **{
        f"energy_{name}": {"LanceDB": "column", "Chroma": "metadata, companion"}
        for name in ("lambda", "dispersion", "cell")
    },
    "energy_residual": {"LanceDB": "column", "Chroma": "companion"},
}


def _encoder() -> Any:
    from energy_plugin.optical import load_encoder

    return load_encoder(ENCODER)


def _make(store: DemoStore, documents: int, *, bars: bool) -> Manifest:
    """Finish the demonstration where it is not finished already."""
    encoder = _encoder()
    source = describe_source(documents)
    manifest = store.manifest()
    if (
        manifest is not None
        and (manifest.source, manifest.fingerprint) == (source, encoder.fingerprint)
        and store.is_complete()
    ):
        return manifest
    start = time.perf_counter()
    docs = collect(documents, show_progress_bar=bars)
    if len(docs) < min(documents, FEWEST):
        warn(
            f"this Python installation documents {len(docs):,} objects, fewer than {FEWEST:,}; "
            f"more come with: pip install {' '.join(PIP_NAMES)}"
        )
    warn(f"making the demonstration in {store.folder}: {len(docs):,} documents, once")
    manifest = store.fill(docs, source, encoder, show_progress_bar=bars)
    warn(f"made in {time.perf_counter() - start:.0f} s")
    return manifest


Found = dict[str, dict[str, list[Answer]]]


def _both(asker: Asker, query: Any, limit: int) -> Found:
    return {
        host: {ranking: asker.ask(host, ranking, query, limit) for ranking in RANKINGS}
        for host in HOSTS
    }


def _ask(store: DemoStore, question: str, limit: int, as_json: bool) -> None:
    """Ask by text: the hosts embed it with the function that is stored with them."""
    store.require_complete()
    found = _both(Asker(store), question, limit)
    if as_json:
        print_json({"question": question, "answers": _as_dicts(found)})
    else:
        _print_answers(question, found)


def _as_dicts(found: Found) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        host: {ranking: [asdict(answer) for answer in answers] for ranking, answers in each.items()}
        for host, each in found.items()
    }


def _stored(store: DemoStore, asker: Asker, vectors: Any) -> dict[str, dict[str, Any]]:
    info = store.energy_table().info()
    rows = {"LanceDB": info.rows, "Chroma": store.energy_collection().count()}
    row_bytes = store.row_bytes()
    folders = {"LanceDB": "lancedb", "Chroma": "chroma"}
    return {
        host: {
            "rows": rows[host],
            "dimensions": info.dim,
            "vector_bytes_per_row": 4 * info.dim,
            "energy_bytes_per_row": row_bytes[host],
            "disk_bytes": _disk(store.folder / folders[host]),
            "query_p50_ms": {ranking: asker.p50(host, ranking, vectors) for ranking in RANKINGS},
        }
        for host in HOSTS
    }


def _disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _print_answers(question: str, found: Found) -> None:
    """Print a question's answers: one column a ranking, one a host where the hosts differ."""
    out = console()
    out.print(heading(question))
    columns: dict[str, list[Answer]] = {}
    for ranking in RANKINGS:
        if _agree(found, ranking):
            columns[f"{ranking}, both hosts"] = found[HOSTS[0]][ranking]
        else:
            columns.update({f"{ranking}, {host}": found[host][ranking] for host in HOSTS})
    made = table("", *columns, numbers_from=len(columns) + 1)
    for rank, answers in enumerate(zip_longest(*columns.values()), 1):
        made.add_row(str(rank), *(_cell(answer) for answer in answers))
    out.print(made)


def _agree(found: Found, ranking: str) -> bool:
    """Tell whether all hosts gave the same documents in the same order."""
    names = [[answer.name for answer in found[host][ranking]] for host in HOSTS]
    return all(each == names[0] for each in names)


def _cell(answer: Answer | None) -> Group:
    if answer is None:  # the other host found more
        return Group()
    _, _, description = answer.text.partition(" — ")
    return Group(
        Text(f"{answer.name}  {answer.distance:.3f}", style="bold", overflow="ellipsis"),
        Text(description, style="dim", no_wrap=True, overflow="ellipsis"),
    )


def _print_stored(
    manifest: Manifest,
    stored: dict[str, dict[str, Any]],
    embed_ms: float,
    answers: dict[str, Found],
) -> None:
    out = console()
    out.print(heading("what is stored"))
    made = table("", *HOSTS)
    first = [stored[host] for host in HOSTS]
    made.add_row("rows", *(f"{host['rows']:,}" for host in first))
    for name, kept in _COLUMNS.items():
        made.add_row(name, *(kept[host] for host in HOSTS))
    made.add_row("bytes/row, vector", *(f"{host['vector_bytes_per_row']:,}" for host in first))
    made.add_row(
        "bytes/row, energy columns", *(f"{host['energy_bytes_per_row']:.0f}" for host in first)
    )
    made.add_row("on disk, MB", *(f"{host['disk_bytes'] / 1e6:.1f}" for host in first))
    for step, label in (("store", "storing, s"), ("build", "energy field, s")):
        times = (manifest.seconds.get(f"{step} {host}", 0.0) for host in HOSTS)
        made.add_row(label, *(f"{seconds:.1f}" for seconds in times))
    for ranking in RANKINGS:
        made.add_row(
            f"query by {ranking}, p50 ms",
            *(f"{host['query_p50_ms'][ranking]:.1f}" for host in first),
        )
    out.print(made)
    for ranking in RANKINGS:
        same = sum(_agree(each, ranking) for each in answers.values())
        out.print(f"{ranking}: both hosts gave the same answers to {same} of {len(answers)}.")
    out.print("storing in LanceDB includes embedding every document once.")
    out.print(f"embedding a question takes {embed_ms:.1f} ms (p50).")
