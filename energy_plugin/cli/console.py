"""What the commands share: the console, JSON output, loading of the encoder."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from energy_plugin.optical import BaseEncoder

_PLAIN_WIDTH = 110  # columns when the output is a file or a pipe


def console() -> Console:
    """Give a console on stdout: as wide as the terminal, 110 columns elsewhere."""
    from energy_plugin._lazy import optional

    made: Console = optional("rich.console", "cli").Console(
        width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False
    )
    return made


def table(*columns: str, numbers_from: int = 1) -> Table:
    """Give a table whose columns from `numbers_from` on are right-aligned."""
    from rich.box import ASCII2, HEAVY_HEAD
    from rich.table import Table

    made = Table(box=HEAVY_HEAD if sys.stdout.isatty() else ASCII2)
    for place, name in enumerate(columns):
        made.add_column(name, justify="right" if place >= numbers_from else "left")
    return made


def heading(text: str) -> Text:
    """Give the line above a table."""
    from rich.text import Text

    return Text(f"\n{text}", style="bold")


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, letters escaped where the stream lacks them."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        text = json.dumps(value, indent=2)
    print(text)


def p_value(value: float) -> str:
    """Format a p-value for a table."""
    return f"{value:.3f}" if value >= 0.0005 else "< .001"


def warn(message: str) -> None:
    """Print a remark on stderr, where it does not disturb the result."""
    print(f"note: {message}", file=sys.stderr)


def show_progress() -> bool:
    """Tell whether progress bars have somebody to look at them, who did not switch them off."""
    return sys.stderr.isatty() and os.environ.get("TQDM_DISABLE", "") in ("", "0")


def log_progress() -> None:
    """Where nobody looks at bars, a line now and then on stderr takes their place."""
    import logging

    if not show_progress():
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        logging.getLogger("energy_plugin.library").setLevel(logging.INFO)


def load_encoder(name: str) -> BaseEncoder:
    """Load an encoder by name or folder."""
    from energy_plugin.optical import OpticalEncoder

    return OpticalEncoder.from_pretrained(name)
