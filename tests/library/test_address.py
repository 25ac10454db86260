"""Addresses of Chroma servers in place of folders."""

from pathlib import Path

import pytest

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.memory import keep, recall, state_of
from energy_plugin.library.stores.address import Server, server_of, shown
from energy_plugin.library.stores.opening import host_of, open_or_create, open_store


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("http://localhost:8001", Server("localhost", 8001, False)),
        ("http://localhost", Server("localhost", 8000, False)),
        ("https://chroma.example.org/", Server("chroma.example.org", 443, True)),
        ("http://[::1]:9", Server("::1", 9, False)),
        ("http", None),
        ("http/x:1", None),
        ("/tmp/http:/x", None),
        (".", None),
    ],
)
def test_addresses(address, server):
    path = Path(address)
    assert server_of(path) == server
    assert shown(path) == (str(path) if server is None else address.rstrip("/"))


@pytest.mark.parametrize("address", ["http://h:port", "http://h/docs", "https://u@h", "http:"])
def test_what_is_no_address(address):
    with pytest.raises(InvalidInputError, match=r"Expected http://HOST:PORT"):
        server_of(Path(address))


def test_a_server_belongs_to_chroma_and_keeps_no_notes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("http://127.0.0.1:1")
    assert host_of(path) == "chroma"
    keep(path, "docs", "info", {"rows": 1})
    assert recall(path, "docs", "info") is None
    assert state_of(path) != state_of(path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInputError, match=r"is a server of chroma, --host says lancedb"):
        open_or_create(path, "docs", "lancedb", lambda: pytest.fail("needs no embedder"))
    pytest.importorskip("chromadb")
    with pytest.raises(InvalidInputError, match=r"http://127.0.0.1:1 cannot be opened as chroma"):
        open_store(path, "docs")
