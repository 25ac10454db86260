"""``energy-plugin forget``: old rows lose fidelity, not their place."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, table
from energy_plugin.cli.options import Database, Json, Name
from energy_plugin.errors import InvalidInputError


def command(
    path: Database,
    column: Annotated[str, typer.Option(help="Column or metadata key with each row's time.")],
    now: Annotated[
        str | None, typer.Option(help="Count ages from this time, ISO 8601 (default: now).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Apply the plan (default: dry run).")] = False,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Store old rows with less precision.

    Shows a plan; --yes applies it.
    """
    from energy_plugin.library.remedies import commands_as_remedies
    from energy_plugin.library.stores.opening import open_store

    try:
        moment = datetime.fromisoformat(now) if now else datetime.now(timezone.utc)
    except ValueError as error:
        raise InvalidInputError(
            f"--now is {now!r}, expected ISO 8601, such as 2026-01-31."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    store = open_store(path, name)
    with commands_as_remedies(path, name):
        plan = store.forget(moment, column, dry_run=not yes)
    found = plan.to_dict()
    if as_json:
        print_json({"done": yes, **found})
        return
    made = table("from age, days", "mode", "bits", "rows", "rows that change", numbers_from=2)
    for step in found["steps"]:
        made.add_row(
            f"{step['age_days']:g}",
            step["mode"],
            *(f"{step[key]:,}" for key in ("bits", "rows", "rows_changed")),
        )
    console().print(made)
    verb = "saved" if yes else "would be saved"
    print(f"{plan.bytes_saved:,} of {plan.bytes_now:,} bytes of residual codes {verb}")
    if not yes and len(plan.rows):
        print("nothing was changed; apply it with: --yes")
