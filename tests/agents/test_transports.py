"""The command, spoken to over standard streams and over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from energy_plugin.errors import InvalidInputError
from energy_plugin.forgetting import Strength
from energy_plugin.mcp import serving

_SERVER = [sys.executable, "-m", "energy_plugin", "mcp"]
TOKEN = "a-token-of-the-tests-0123456789"


def test_over_standard_streams_there_is_nothing_but_the_protocol(database, tmp_path):
    from mcp import Client, StdioServerParameters

    server = StdioServerParameters(
        command=_SERVER[0], args=[*_SERVER[1:], str(database)], env=dict(os.environ)
    )

    async def main():
        with anyio.fail_after(240):
            async with Client(server) as client:
                found = await client.call_tool("search", {"question": "heat shield", "limit": 1})
                return found.structured_content

    assert anyio.run(main)["results"][0]["source"] in {"shield.md", "copy.md"}


@pytest.mark.parametrize("host", ["lancedb"], indirect=True)
def test_over_http_every_request_brings_the_token(database):
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    with _served(database, "--half-life", "30") as url:

        async def main():
            with anyio.fail_after(240):
                headers = {"Authorization": f"Bearer {TOKEN}"}
                asked = {"question": "heat shield", "limit": 1}
                async with (
                    httpx2.AsyncClient(headers=headers, timeout=120) as http,
                    Client(streamable_http_client(url, http_client=http)) as client,
                ):
                    found = await client.call_tool("search", asked)
                async with httpx2.AsyncClient() as http:
                    codes = [
                        (await http.post(url, json={}, headers=each)).status_code
                        for each in ({}, {"Authorization": "Bearer another"})
                    ]
                    stranger = {**headers, "Host": "example.com"}
                    codes.append((await http.post(url, json={}, headers=stranger)).status_code)
                return found.structured_content, codes

        found, codes = anyio.run(main)
    assert found["results"][0]["source"] in {"shield.md", "copy.md"}
    assert found["results"][0]["strength"] > 0.9
    assert codes == [401, 401, 421]  # the last: a page of another site, by DNS rebinding


@contextlib.contextmanager
def _served(database, *options):
    """Run the command on a free port; gives its URL, and stops it."""
    process = subprocess.Popen(
        [*_SERVER, str(database), "--http", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ENERGY_PLUGIN_TOKEN": TOKEN},
    )
    try:
        said = next(line for line in process.stderr if line.startswith("serving "))
        assert TOKEN not in said
        yield said.split()[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--http", "--host", "0.0.0.0"], "Add --public"),
        (["--http", "--token-file", "short.txt"], "expected at least 16"),
        (["--half-life", "0"], "expected a positive number of days"),
        ([], "neither a LanceDB nor a Chroma folder"),
    ],
)
def test_wrong_usage_is_one_line(options, said, tmp_path, monkeypatch, capsys):
    from energy_plugin import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("secret\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["energy-plugin", "mcp", "empty", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert said in err
    assert (out, len(err.splitlines())) == ("", 1)


def test_addresses_and_tokens_are_checked():
    assert serving.is_loopback("::1")
    assert not serving.is_loopback("10.0.0.1")
    assert not serving.is_loopback("example.com")
    assert anyio.run(serving.OneToken(TOKEN).verify_token, TOKEN).client_id == "energy-plugin"
    assert anyio.run(serving.OneToken(TOKEN).verify_token, "tökën") is None
    for bad in ("x" * 15, "sixteen letters and spaces", "ü" * 20):
        with pytest.raises(InvalidInputError, match="token"):
            serving.as_token(bad)
    with pytest.raises(InvalidInputError, match="Cannot listen"):
        serving.over_http(None, "192.0.2.1", 0, TOKEN, print)


def test_strength_is_value_times_freshness_with_a_floor_and_pins():
    strength = Strength(half_life_days=10, floor=0.1)
    found = strength.of(
        [0, 10, 20, 1000, float("nan"), -5, 1000], [1, 1, 0.4, 1, 0.5, 1, 0.2], [False] * 6 + [True]
    )
    assert found == pytest.approx([1, 0.5, 0.1, 0.1, 0.5, 1, 1])
    assert Strength().of([30.0]) == pytest.approx([0.5])
    for options in ({"half_life_days": 0}, {"half_life_days": True}, {"floor": 1.5}):
        with pytest.raises(InvalidInputError):
            Strength(**options)
    with pytest.raises(InvalidInputError, match="expected 0 to 1"):
        strength.of([1.0], [2.0])
    with pytest.raises(InvalidInputError, match="one of each"):
        strength.of([1.0, 2.0], [1.0])


def test_the_example_of_a_memory_runs(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "agent_memory.py"
    run = subprocess.run(
        [sys.executable, str(example), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    said = [line.split(None, 1) for line in run.stdout.splitlines()]
    assert next(rest for kind, rest in said if kind == "found").endswith("Lisbon since spring.")
    assert any(
        "Berlin" in rest and "strength" in rest for kind, rest in said if kind == "suppressed"
    )
    assert ["left", "4 notes in lancedb"] in said
