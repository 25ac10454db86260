"""``energy-plugin lab bench-encoder``: speed of the encoders on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from energy_plugin.cli.console import console, heading, print_json, table
from energy_plugin.errors import InvalidInputError


def command(
    size: Annotated[str, typer.Option(help="full, compact or both.")] = "both",
    mode: Annotated[str, typer.Option(help="Mode of the full encoder's pages.")] = "tiny",
    batch: Annotated[int, typer.Option(help="Pages per forward pass of the full encoder.")] = 4,
    rounds: Annotated[int, typer.Option(help="Measurements; the median is reported.")] = 3,
    device: Annotated[
        str | None, typer.Option(help="cuda, mps or cpu (default: the best available).")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads (default: torch's choice).")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time the full encoder against transformers' (needs it, and 5 GB), and the compact one."""
    from energy_plugin.evaluation.encoder_speed import compact_speed, full_speed, machine
    from energy_plugin.evaluation.reference_docs import collect

    if size not in ("full", "compact", "both"):
        raise InvalidInputError(f"size is {size!r}, expected 'full', 'compact' or 'both'")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    found: dict[str, Any] = {"machine": machine()}
    if size != "full":
        documents = [doc.text for doc in collect()]
        found["compact"] = {
            dtype: compact_speed(documents, rounds=rounds, dtype=dtype, device=device)
            for dtype in ("float32", "bfloat16")
        }
    if size != "compact":
        found["full"] = full_speed(mode, batch=batch, rounds=rounds, device=device)
    if output:
        try:
            output.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise InvalidInputError(f"cannot write {output}: {error}") from error
    if as_json:
        print_json(found)
        return
    if "compact" in found:
        console().print(heading("Compact encoder, texts a second"))
        made = table("precision", "60 characters", "a CPU second", "1,000", "a CPU second")
        for dtype, one in found["compact"].items():
            made.add_row(
                dtype,
                f"{one['short_texts_per_second']:.0f}",
                f"{one['short_texts_per_cpu_second']:.0f}",
                f"{one['passages_per_second']:.1f}",
                f"{one['passages_per_cpu_second']:.1f}",
            )
        console().print(made)
    if "full" in found:
        full = found["full"]
        console().print(heading(f"Full encoder, mode {mode}, bfloat16, {full['device']}"))
        made = table("run", "pages/s", "CPU s/page", "ratio", "ratio of CPU time")
        for name, pages in full["pages_per_second"].items():
            ratio = full["ratio"].get(name, 1.0)
            cpu = full["ratio_cpu"].get(name, 1.0)
            seconds = full["cpu_seconds_per_page"][name]
            made.add_row(name, f"{pages:.3f}", f"{seconds:.2f}", f"{ratio:.2f}", f"{cpu:.2f}")
        console().print(made)
