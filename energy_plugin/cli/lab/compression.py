"""``energy-plugin lab compression``: what the pages of texts compress, mode by mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from energy_plugin._lazy import optional
from energy_plugin.cli.console import console, print_json, table
from energy_plugin.cli.lab.render import read_text
from energy_plugin.errors import InvalidInputError


def command(
    files: Annotated[list[Path], typer.Argument(help="UTF-8 text files.")],
    mode: Annotated[
        list[str] | None, typer.Option(help="tiny, small, base or large (default: all).")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Published weights, to measure the tokens' entropy too.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="tokenizer.json to count text tokens with (default: an estimate)."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Image file of a plot by mode.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure words and text tokens per vision token, spatial compression and entropies."""
    from energy_plugin.optical.density import compression
    from energy_plugin.optical.density import plot as draw
    from energy_plugin.optical.modes import PAGE_MODES

    count = _counter(tokenizer) if tokenizer else None
    made = table(
        *("file", "mode", "pages", "tokens", "words/token", "text/token", "patches"),
        *("text H", "page H", "tokens H"),
        numbers_from=2,
    )
    measured, rows = [], []
    for file in files:
        text = read_text(file)
        for name in mode or PAGE_MODES:
            reader = _reader(encoder, name) if encoder else None
            found = compression(text, name, encoder=reader, tokenizer=count)
            measured.append(found)
            rows.append({"file": str(file), **found.to_dict()})
            tokens = found.tokens_entropy
            made.add_row(
                file.name,
                name,
                f"{found.pages}",
                f"{found.vision_tokens:,}",
                f"{found.words_per_token:.2f}",
                f"{found.text_tokens_per_token:.2f}",
                f"{found.spatial:.0f}",
                f"{found.text_entropy:.2f}",
                f"{found.page_entropy:.3f}",
                "–" if tokens is None else f"{tokens:.2f}",
            )
    if plot:
        try:
            draw(measured).figure.savefig(plot, dpi=144)
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot write {plot}: {error}") from error
    if as_json:
        print_json(rows)
        return
    console().print(made)
    print("text/token: text tokens per vision token. patches: patches of 16 px per vision token.")
    print("H: Shannon entropy in bits a character, a pixel, a component of the tokens.")


def _counter(path: Path) -> Callable[[str], int]:
    try:
        made = optional("tokenizers", "train").Tokenizer.from_file(str(path))
    except ImportError:
        raise
    except Exception as error:  # tokenizers raises nothing more exact
        raise InvalidInputError(f"cannot read {path} as a tokenizer: {error}") from error
    made.no_truncation()
    return lambda text: len(made.encode(text, add_special_tokens=False).ids)


def _reader(source: str, mode: str) -> Any:
    from energy_plugin.optical import OpticalEncoder

    found = OpticalEncoder.from_pretrained(source, mode=mode)
    if not hasattr(found, "tokens_of_pages"):
        raise InvalidInputError(f"{source!r} is a compact encoder; name published weights")
    return found
