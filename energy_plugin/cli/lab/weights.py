"""``energy-plugin lab weights``: published weights, looked at and written as encoder-only files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, show_progress, table
from energy_plugin.errors import CheckpointError, InvalidInputError

app = typer.Typer(
    no_args_is_help=True,
    help="Published weights of the full encoder.",
    add_completion=False,
    rich_markup_mode=None,
)
_Source = Annotated[
    str, typer.Argument(help="File, folder, or repository as in deepseek-ai/DeepSeek-OCR.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Revision = Annotated[str, typer.Option(help="Of a repository: branch, tag or commit.")]


def _located(source: str, revision: str) -> Path:
    from energy_plugin.optical.weights import checkpoint

    path = checkpoint.source(source, revision=revision, show_progress_bar=show_progress())
    if checkpoint.is_compact(path):
        raise CheckpointError(
            f"{source!r} has no weights with the published names; a compact encoder is one "
            "file already"
        )
    return path


@app.command("export")
def export(
    source: _Source,
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    dtype: Annotated[
        str, typer.Option(help="keep, bfloat16, float16 or float32 (keep: as in the source).")
    ] = "keep",
    revision: _Revision = "main",
    as_json: _Json = False,
) -> None:
    """Write the encoder's part of published weights as one file, published names kept."""
    import torch

    from energy_plugin.optical.weights import files as weights

    kinds = {"keep": None, **{k: getattr(torch, k) for k in ("bfloat16", "float16", "float32")}}
    if dtype not in kinds:
        raise InvalidInputError(f"dtype is {dtype!r}, expected one of {list(kinds)}")
    found = weights.read(_located(source, revision))
    size = weights.export(found, output, dtype=kinds[dtype])
    if as_json:
        print_json({"file": str(output), "tensors": len(found), "bytes": size})
        return
    print(f"{output}: {len(found)} tensors, {size / 1e6:,.1f} MB")


@app.command("info")
def info(source: _Source, revision: _Revision = "main", as_json: _Json = False) -> None:
    """Show what published weights contain: parts, parameters, sizes, provenance."""
    from energy_plugin.optical.weights import files as weights
    from energy_plugin.optical.weights.published import PARTS, config_of

    found = weights.read(_located(source, revision))
    parts = {
        part.rstrip("."): [value.numel() for key, value in found.items() if key.startswith(part)]
        for part in PARTS
    }
    config = config_of({key: tuple(value.shape) for key, value in found.items()})
    kinds = sorted({str(value.dtype).removeprefix("torch.") for value in found.values()})
    if as_json:
        print_json(
            {
                "digest": weights.digest(found),
                "dtypes": kinds,
                "tensors": len(found),
                "parameters": sum(map(sum, parts.values())),
                "parts": {
                    part: {"tensors": len(n), "parameters": sum(n)} for part, n in parts.items()
                },
                "config": config.to_dict(),
            }
        )
        return
    made = table("part", "tensors", "parameters")
    for part, numbers in parts.items():
        made.add_row(part, f"{len(numbers):,}", f"{sum(numbers):,}")
    made.add_row("all", f"{len(found):,}", f"{sum(map(sum, parts.values())):,}")
    console().print(made)
    print(f"{', '.join(kinds)}; digest {weights.digest(found)}")
