"""An agent's memory: notes that fade, pins, what was suppressed, and forgetting by plan.

Usage: python examples/agent_memory.py [FOLDER] [lancedb|chroma]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from mcp import Client

from energy_plugin.forgetting import Strength
from energy_plugin.mcp.server import made
from energy_plugin.mcp.shelf import Shelf

NOTES = [
    ("Anna's office is in Berlin.", {"value": 0.4}),
    ("Anna's office is in Lisbon since spring.", {}),
    ("Never deploy on a Friday.", {"pinned": True}),
    ("The nightly backup runs at three.", {"value": 0.7}),
    ("The canteen serves lunch at noon.", {"value": 0.3}),
]


async def main(folder: Path, host: str) -> None:
    """Keep notes, ask, see what was suppressed, and forget one of them."""
    shelf = Shelf(folder / "memory", new=host)
    server = made(shelf, Strength(half_life_days=30, floor=0.05))
    async with Client(server) as client:

        async def call(tool: str, **arguments: object) -> dict:
            found = await client.call_tool(tool, arguments)
            if found.is_error:
                raise SystemExit(found.content[0].text)
            return found.structured_content

        names = [(await call("add_note", text=text, **more))["note"] for text, more in NOTES]
        found = await call("search", question="where is Anna's office?", min_relevance=0.6)
        for hit in found["results"]:
            print(f"found       {hit['score']:.2f}  {hit['text']}")
        for hit in found["suppressed"]:
            print(f"suppressed  {hit['score']:.2f}  {hit['text']}  ({hit['reason']})")
        plan = await call("forget", notes=[names[0]])
        print(f"plan        {plan['notes'][0]['text']}")
        await call("forget", plan=plan["plan"])
        for entry in (await call("history", limit=1))["entries"]:
            print(f"history     {entry['action']}  {entry['notes'][0]['text']}")
        left = await call("status")
        print(f"left        {left['rows']} notes in {left['host']}")


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    asyncio.run(main(where, sys.argv[2] if len(sys.argv) > 2 else "lancedb"))
