"""``energy-plugin demo``: this machine's own reference documentation in both hosts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from energy_plugin.cli.compare_tables import print_comparison
from energy_plugin.cli.console import print_json, show_progress, warn
from energy_plugin.cli.demo_tables import Found, print_answers, print_stored
from energy_plugin.evaluation.reference_docs import FEWEST, PIP_NAMES, collect, describe_source
from energy_plugin.library.demonstration.answers import (
    HOSTS,
    RANKINGS,
    Asker,
    Query,
    p50,
)
from energy_plugin.library.demonstration.questions import KNOWN, known
from energy_plugin.library.demonstration.store import ENCODER, DemoStore, Manifest
from energy_plugin.library.demonstration.verdict import judge, telling
from energy_plugin.library.questions import Question

TIMED = 12  # questions whose time is measured
LISTED = 10  # questions of the table of places


def command(
    folder: Annotated[Path, typer.Option(help="Where both databases are kept.")] = Path(".demo"),
    ask: Annotated[str | None, typer.Option(help="Ask your own question.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Answers for a question.")] = 3,
    documents: Annotated[int, typer.Option(min=50, help="Maximum number of documents.")] = 6000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Embed, store and search the documentation of this Python installation.

    It ends with a verdict: which ranking puts the known answers first. The first run takes
    about a minute; later ones reuse the databases in --folder.
    """
    store = DemoStore(folder)
    if ask is not None:
        _ask(store, ask, limit, as_json)
        return
    manifest = _make(store, documents, bars=show_progress())
    asker, encoder = Asker(store), _encoder()
    questions = known(store.content()[0])
    asked = questions or [Question(text, ()) for text in KNOWN]
    vectors = [encoder.encode_query(each.text) for each in asked]
    queries = [Query(each.text, v) for each, v in zip(asked, vectors, strict=True)]
    result = judge(store, questions, np.stack(vectors)) if questions else None
    shown = telling(result) if result else [0]
    answers = {queries[i].text: _both(asker, queries[i], limit) for i in shown}
    stored = _stored(store, asker, queries[:TIMED])
    embed_ms = p50(encoder.encode_query, [query.text for query in queries[:TIMED]], rounds=1)
    if as_json:
        print_json(
            {
                "documents": manifest.documents,
                "seconds": manifest.seconds,
                "embed_query_p50_ms": embed_ms,
                "hosts": stored,
                "answers": {q: _as_dicts(found) for q, found in answers.items()},
                "comparison": result.to_dict() if result else None,
            }
        )
        return
    print_stored(manifest, stored, embed_ms)
    for i, (question, found) in zip(shown, answers.items(), strict=True):
        print_answers(question, found, asked[i].answers)
    if result:
        print_comparison(result, made=False, shown=LISTED)
    else:
        warn("This Python documents none of the known answers, so there is no verdict.")


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


def _both(asker: Asker, query: Query, limit: int) -> Found:
    return {
        host: {ranking: asker.ask(host, ranking, query, limit) for ranking in RANKINGS}
        for host in HOSTS
    }


def _ask(store: DemoStore, question: str, limit: int, as_json: bool) -> None:
    """Ask by text: the hosts embed it with the function that is stored with them."""
    store.require_complete()
    found = _both(Asker(store), Query(question), limit)
    if as_json:
        print_json({"question": question, "answers": _as_dicts(found)})
    else:
        print_answers(question, found, KNOWN.get(question, ()))


def _as_dicts(found: Found) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        host: {ranking: [asdict(answer) for answer in answers] for ranking, answers in each.items()}
        for host, each in found.items()
    }


def _stored(store: DemoStore, asker: Asker, queries: Sequence[Query]) -> dict[str, dict[str, Any]]:
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
            "query_p50_ms": {ranking: asker.p50(host, ranking, queries) for ranking in RANKINGS},
        }
        for host in HOSTS
    }


def _disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
