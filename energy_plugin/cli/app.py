"""The application: its commands, ``--version`` and ``--help``."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_plugin import __version__
from energy_plugin.cli import (
    bench,
    bench_chroma,
    bench_encoder,
    bench_lancedb,
    bench_map,
    compression,
    demo,
    evaluate,
    fidelity,
    forget,
    index,
    info,
    render,
    report,
    robustness,
    search,
    stages,
    sts,
    study,
    sweep,
    train,
    tune,
    verify,
    weights,
)

app = typer.Typer(
    name="energy-plugin",
    help="Optical embeddings and energy ranking for Chroma and LanceDB.",
    epilog="Exit codes: 0 done; 1 an error, one line on stderr; 2 wrong usage or input that cannot "
    "be read, the rest of the work done; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"energy-plugin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command("bench")(bench.command)
app.command("bench-chroma")(bench_chroma.command)
app.command("bench-encoder")(bench_encoder.command)
app.command("bench-lancedb")(bench_lancedb.command)
app.command("bench-map")(bench_map.command)
app.command("compression")(compression.command)
app.command("demo")(demo.command)
app.command("eval")(evaluate.command)
app.command("fidelity")(fidelity.command)
app.command("forget")(forget.command)
app.command("index")(index.command)
app.command("info")(info.command)
app.command("render")(render.command)
app.command("report")(report.command)
app.command("robustness")(robustness.command)
app.command("search")(search.command)
app.command("stages")(stages.command)
app.command("sts")(sts.command)
app.command("study")(study.command)
app.command("sweep")(sweep.command)
app.command("train")(train.command)
app.command("tune")(tune.command)
app.command("verify")(verify.command)
app.add_typer(weights.app, name="weights")
