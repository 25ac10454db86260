"""Lines and branches that the tests run, by package; fails below the share that is asked for.

    coverage run -m pytest; coverage combine; coverage json -o build/coverage.json
    python .ci/coverage_table.py build/coverage.json --lines 90

Counted are all files of the packages, imported or not. The last line is the total.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path, PurePath
from typing import Any

PACKAGES = ("adapters", "energy_plugin")  # their folders are told apart, one level down
COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def package_of(file: str) -> str:
    """The folder below `energy_plugin` or `adapters`; `energy_plugin` for the modules beside."""
    parts = PurePath(file).parts
    top = next(i for i, part in enumerate(parts) if part in PACKAGES)
    inside = parts[top + 1 : -1]
    return "/".join((parts[top], *inside[:1]))


def counted(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Sums of `COUNTS` by package, and under ``total``, of what ``coverage json`` wrote."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for file, entry in report["files"].items():
        for name in (package_of(file), "total"):
            for count in COUNTS:
                sums[name][count] += entry["summary"][count]
    return {name: sums[name] for name in sorted(sums, key=lambda name: (name == "total", name))}


def share(covered: int, whole: int) -> float:
    """Per cent; 100 of nothing."""
    return 100 * covered / whole if whole else 100.0


def main() -> int:
    """Print the table; 1 where the total of lines is too low."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--lines", type=float, default=90.0, help="least share of lines, per cent")
    given = parser.parse_args()
    sums = counted(json.loads(given.report.read_text("utf-8")))
    print(f"{'package':32} {'lines':>7} {'run':>7} {'branches':>9} {'run':>7}")
    for name, of in sums.items():
        lines = share(of["covered_lines"], of["num_statements"])
        branches = share(of["covered_branches"], of["num_branches"])
        counts = f"{of['num_statements']:7} {lines:6.1f}% {of['num_branches']:9} {branches:6.1f}%"
        print(f"{name:32} {counts}")
    total = sums["total"]
    reached = share(total["covered_lines"], total["num_statements"])
    if reached < given.lines:
        print(f"{reached:.1f} % of the lines ran, wanted {given.lines:g} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
