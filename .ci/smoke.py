"""What a fresh installation has to do: arrays, both hosts, the command line, an agent's tools.

Run by an environment that has the package with the extras chroma, lancedb, cli and mcp, from a
folder that is not the repository. Prints one line a step; the first that fails ends it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

TEXTS = {
    "shield.md": "---\nyear: 1968\n---\nThe heat shield is made of carbon phenolic.",
    "engine.md": "---\nyear: 1981\n---\nThe main engine burns liquid hydrogen with oxygen.",
    "wing.md": "---\nyear: 1990\n---\nThe wing stalls at a high angle of attack.",
    "bread.md": "---\nyear: 2001\n---\nBread dough rises for two hours in a warm kitchen.",
    "river.md": "---\nyear: 2002\n---\nThe river slows down where its bed becomes wide.",
}


def main() -> None:
    """Take every step."""
    import energy_plugin

    home = Path(energy_plugin.__file__).resolve()
    assert home.is_relative_to(Path(sys.prefix).resolve()), f"{home} is not of this environment"
    print(f"installed   {home.parent}")
    arrays()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        files.mkdir()
        for name, text in TEXTS.items():
            (files / name).write_text(text, encoding="utf-8")
        for host in ("lancedb", "chroma"):
            command_line(files, Path(folder, host), host)
        asyncio.run(tools(Path(folder, "lancedb")))
    print("all steps passed")


def arrays() -> None:
    """Embed, fit and search without a database."""
    from energy_plugin import EnergyIndex, OpticalEncoder

    encoder = OpticalEncoder.from_pretrained("compact")
    vectors = encoder.encode(list(TEXTS.values()))
    found = EnergyIndex.fit(vectors).search(encoder.encode("rising dough"), k=1)
    assert found.ids.tolist() == [[3]], found.ids
    print("arrays      the right row comes first")


def command_line(files: Path, database: Path, host: str) -> None:
    """Index a folder, search with a filter, verify."""
    said = run("index", str(files), "--into", str(database), "--host", host, "--json")
    assert json.loads(said)["rows"] == len(TEXTS), said
    where = "year > 1975" if host == "lancedb" else '{"year": {"$gt": 1975}}'
    for filters, best in (([], "shield.md"), (["--where", where], "engine.md")):
        question = (
            "what is the heat shield made of?" if not filters else "what burns in the engine?"
        )
        hits = json.loads(run("search", str(database), question, *filters, "--json"))
        assert hits[0]["source"] == best, hits
    run("info", str(database))
    run("verify", str(database))
    print(f"{host:<11} indexed, searched, filtered, verified")


async def tools(database: Path) -> None:
    """Ask through the tools of agents, by the protocol's own client."""
    from mcp import Client, StdioServerParameters

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "energy_plugin", "mcp", str(database)]
    )
    async with Client(server) as client:
        found = await client.call_tool("search", {"question": "heat shield", "limit": 1})
    assert not found.is_error, found.content
    assert found.structured_content["results"][0]["source"] == "shield.md"
    print("mcp         an agent's search answers")


def run(*arguments: str) -> str:
    """Run a command of the installed package; its standard output."""
    script = Path(sys.executable).parent / "energy-plugin"
    done = subprocess.run(
        [str(script), *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"energy-plugin {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
