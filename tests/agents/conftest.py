"""A small index of files in either host, and the SDK's own client."""

from __future__ import annotations

import json

import anyio
import pytest
from support.agents import Refused

pytest.importorskip("mcp")

TEXTS = {
    "shield.md": "---\nyear: 1968\n---\nThe heat shield is made of carbon phenolic.",
    "engine.md": "---\nyear: 1981\n---\nThe main engine burns liquid hydrogen with oxygen.",
    "wing.md": "---\nyear: 1990\n---\nThe wing stalls at a high angle of attack.",
    "copy.md": "---\nyear: 1991\n---\nThe heat shield is made of carbon phenolic.",
    "bread.md": "---\nyear: 2001\n---\nBread dough rises for two hours in a warm kitchen.",
    "river.md": "---\nyear: 2002\n---\nThe river slows down where its bed becomes wide.",
}


@pytest.fixture(params=["lancedb", "chroma"])
def host(request):
    pytest.importorskip({"chroma": "chromadb"}.get(request.param, request.param))
    return request.param


@pytest.fixture
def database(host, tmp_path):
    from energy_plugin.library.indexing import Request, index_folder

    folder = tmp_path / "files"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    index_folder(Request(folder, tmp_path / "db", host=host), {}, show_progress_bar=False)
    yield tmp_path / "db"
    if host == "chroma":
        from chromadb.api.shared_system_client import SharedSystemClient

        SharedSystemClient.clear_system_cache()


@pytest.fixture
def talk():
    """Give `talk(server, body)`: run ``await body(call)`` with a connected client."""
    from mcp import Client

    def run(server, body):
        async def main():
            async with Client(server) as client:

                async def call(tool, /, **arguments):
                    found = await client.call_tool(tool, arguments)
                    if found.is_error:
                        raise Refused(found.content[0].text)
                    assert json.loads(found.content[0].text) == found.structured_content
                    return found.structured_content

                call.client = client
                return await body(call)

        return anyio.run(main)

    return run
