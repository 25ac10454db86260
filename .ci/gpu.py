"""Measure what a card decides, and check it: ``make gpu``, or with any Python that has torch.

    python .ci/gpu.py [--out build/gpu] [--parts ranking fit] [--device cuda] [--limit 480]

Goes on where an earlier run was cut short. Without a card everything runs on the CPU at toy size.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "adapters")]


def main() -> int:
    """Run, print the table, and write it with the numbers."""
    from energy_plugin.evaluation.gpu.run import LIMIT, PARTS, run
    from energy_plugin.evaluation.gpu.tables import table

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), metavar="PART")
    parser.add_argument("--device")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds")
    given = parser.parse_args()
    found = run(
        given.out,
        device=given.device,
        parts=given.parts,
        limit=given.limit,
        note=lambda name: print(f"measuring: {name}", file=sys.stderr, flush=True),
    )
    (given.out / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    (given.out / "gpu.md").write_text(table(found) + "\n", "utf-8")
    print(table(found))
    left = [name for name in given.parts if name not in found["parts"]]
    if left:
        print(f"not begun within {given.limit:g} s: {', '.join(left)}; run again", file=sys.stderr)
    failed = [name for name, one in found["parts"].items() if "error" in one or one.get("exit")]
    return 1 if left or failed else 0


if __name__ == "__main__":
    sys.exit(main())
