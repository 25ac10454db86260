"""``info``, ``verify`` and ``forget`` with real hosts."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from support.chroma_cases import worn

from energy_plugin.library.stores.opening import open_store


def test_info(made, call):
    host, _, into = made
    code, out, _ = call("info", into, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["host"], found["name"], found["rows"]) == (host, "docs", 37)
    assert found["vector_bytes"] == 4 * found["dim"] * 37
    assert sum(found["bits"].values()) == 37
    assert (found["generation"], found["pending"]) == (1, 0)
    assert found["drift"]["distortion"] == pytest.approx(1.0, abs=0.05)
    assert found["disk_bytes"] > found["field_bytes"] > 0
    assert found["energy_column_bytes"] >= 37 * (found["dim"] // 8 + 12)
    code, out, _ = call("info", into)
    assert code == 0
    assert "drift" in out


def test_verify_and_repair(copy, call):
    _, _, into = copy
    code, out, _ = call("verify", into)
    assert code == 0
    assert "no problems found" in out
    store = open_store(into)  # a row changes behind the plugin's back
    row = next(iter(store.sources()))[0]
    store.remove([row])
    vectors = np.eye(1, store.content().vectors.shape[1], dtype=np.float32)
    from energy_plugin.library.stores.store import Row

    store.add([Row("new#0", "new", "new", 0, 1, "0", "2020-01-01T00:00:00+00:00")], vectors)
    code, out, _ = call("verify", into, "--json")
    assert code == 1
    assert json.loads(out)["found"] == json.loads(out)["left"] != []
    code, out, _ = call("verify", into, "--repair", "--json")
    assert (code, json.loads(out)["left"]) == (0, [])
    code, _, _ = call("verify", into)
    assert code == 0


def test_rows_that_chroma_itself_does_not_find(tmp_path, call):
    pytest.importorskip("chromadb")
    from energy_chroma import EnergyCollection

    from energy_plugin.library.stores.chroma import client

    EnergyCollection(worn(client(tmp_path))[0]).build()
    assert call("verify", tmp_path)[0] == 0  # the field is sound
    code, out, _ = call("verify", tmp_path, "--reach")
    assert code == 1
    (count,) = re.findall(r"found: unreachable: .* find (\d+) rows", out)
    assert "--repair --reach" in out
    code, out, _ = call("verify", tmp_path, "--reach", "--repair", "--json")
    left = [re.findall(r"\d+", each["message"])[0] for each in json.loads(out)["left"]]
    assert sum(map(int, left)) <= int(count) // 3


def test_a_table_has_no_graph_that_could_lose_rows(made, call):
    host, _, into = made
    if host == "lancedb":
        code, _, err = call("verify", into, "--reach")
        assert code == 2
        assert "Leave it out" in err


def test_forget_says_first_and_does_then(copy, call):
    _, _, into = copy
    arguments = ("forget", into, "--column", "modified", "--now", "2200-01-01", "--json")
    code, out, _ = call(*arguments)
    plan = json.loads(out)
    assert code == 0
    assert plan["done"] is False
    assert sum(step["rows_changed"] for step in plan["steps"]) == 37
    before = json.loads(call("info", into, "--json")[1])["bits"]
    assert "1" not in before
    code, _, _ = call(*arguments, "--yes")
    assert code == 0
    assert json.loads(call("info", into, "--json")[1])["bits"] == {"1": 37}
    code, out, _ = call(*arguments)
    assert sum(step["rows_changed"] for step in json.loads(out)["steps"]) == 0
    assert len(json.loads(call("search", into, "bread", "--json")[1])) == 5


def test_forget_refuses(made, call):
    _, _, into = made
    for arguments in (("--column", "nothing"), ("--column", "modified", "--now", "soon")):
        code, out, err = call("forget", into, *arguments)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["info", "verify", "forget"])
def test_neither_host(tmp_path, call, command):
    more = ("--column", "x") if command == "forget" else ()
    code, out, err = call(command, tmp_path, *more)
    assert (code, out) == (2, "")
    assert "neither a LanceDB nor a Chroma folder" in err
    assert len(err.splitlines()) == 1
