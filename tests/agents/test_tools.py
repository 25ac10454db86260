"""The tools, as the SDK's client calls them, over both hosts."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from support.agents import Refused

from energy_plugin.errors import InvalidInputError
from energy_plugin.forgetting import Strength
from energy_plugin.mcp import finding, keeping
from energy_plugin.mcp.filters import as_where
from energy_plugin.mcp.ledger import Ledger, now
from energy_plugin.mcp.server import made
from energy_plugin.mcp.shelf import Shelf

SHIELD = "what is the heat shield made of?"


def test_agents_find_read_and_understand(database, talk):
    async def body(call):
        tools = (await call.client.list_tools()).tools
        assert {tool.name for tool in tools} == {
            *("search", "read", "explain", "related", "near_duplicates", "status", "history"),
            *("add_note", "forget"),
        }
        assert all(tool.description and tool.annotations for tool in tools)
        found = await call("search", question=SHIELD, limit=2)
        assert found["ranking"] == "hybrid"
        assert {hit["source"] for hit in found["results"]} == {"shield.md", "copy.md"}
        assert all(hit["relevance"] > 0.5 for hit in found["results"])
        late = await call("search", question=SHIELD, limit=1, filters={"year": {"$gt": 1970}})
        assert [hit["source"] for hit in late["results"]] == ["copy.md"]
        some = await call("search", question=SHIELD, sources=["river.md", "wing.md"])
        assert {hit["source"] for hit in some["results"]} == {"river.md", "wing.md"}
        none = await call("search", question=SHIELD, sources=["nothing.md"])
        assert none["results"] == []
        assert "filters" in none["remark"]

        whole = await call("read", name="engine.md")
        assert whole["text"] == "The main engine burns liquid hydrogen with oxygen."
        assert whole["fields"]["year"] == 1981
        piece = await call("read", name="engine.md#0", start=4, characters=4)
        assert (piece["text"], piece["next_start"]) == ("main", 8)

        best = found["results"][0]["id"]
        why = await call("explain", question=SHIELD, id=best, other="river.md#0")
        row = why["row"]
        assert row["place"] == 1
        assert row["shared_words"] == ["heat", "shield", "made"]
        assert sum(row["terms"].values()) == pytest.approx(row["distance"], abs=1e-3)
        assert why["why"].startswith(f"{best!r} is above 'river.md#0'")
        twin = {"shield.md#0": "copy.md#0", "copy.md#0": "shield.md#0"}[best]
        assert why["neighbours"][0]["id"] == twin

        near = await call("related", id=best, limit=1)
        assert near["related"][0]["id"] == twin
        way = await call("related", id=best, to=twin)
        assert [row["id"] for row in way["path"]] == [best, twin]
        copies = await call("near_duplicates")
        assert [{row["id"] for row in group["members"]} for group in copies["shown"]] == [
            {best, twin}
        ]
        state = await call("status", check=True)
        assert (state["rows"], state["findings"]) == (6, [])

    talk(made(Shelf(database)), body)


def test_notes_come_and_go_by_plans_and_history_tells(database, host, talk, tmp_path):
    async def body(call):
        note = (await call("add_note", text="Anna prefers tea.", fields={"about": "Anna"}))["note"]
        kept = (await call("add_note", text="The vault code hangs inside.", pinned=True))["note"]
        found = await call("search", question="what does Anna drink?", limit=1)
        assert found["results"][0]["source"] == note
        only = await call("search", question="drink", filters={"about": "Anna"})
        assert [hit["source"] for hit in only["results"]] == [note]

        plan = await call("forget", notes=[note])
        assert plan["dry_run"] is True
        assert plan["notes"][0]["text"] == "Anna prefers tea."
        assert (await call("read", name=note))["text"] == "Anna prefers tea."
        done = await call("forget", plan=plan["plan"])
        assert done["dry_run"] is False
        with pytest.raises(Refused, match="neither a source nor the id"):
            await call("read", name=note)
        with pytest.raises(Refused, match="carried out already"):
            await call("forget", plan=plan["plan"])
        with pytest.raises(Refused, match="pinned and cannot be removed"):
            await call("forget", notes=[kept])
        with pytest.raises(Refused, match="Only notes can be removed"):
            await call("forget", notes=["engine.md"])
        with pytest.raises(Refused, match="either notes"):
            await call("forget", notes=[kept], plan="x")
        entries = (await call("history"))["entries"]
        assert [entry["action"] for entry in entries] == ["forget", "add_note", "add_note"]
        assert entries[0]["notes"][0]["text"] == "Anna prefers tea."
        return kept

    kept = talk(made(Shelf(database)), body)
    # the next update of the folder's index leaves notes alone
    from energy_plugin.library.indexing import Request, index_folder

    (tmp_path / "files" / "bread.md").unlink()
    outcome = index_folder(
        Request(tmp_path / "files", database, host=host), {}, show_progress_bar=False
    )
    assert (outcome.progress["removed"], outcome.rows) == (1, 6)
    assert Shelf(database).store.fetch(source=kept)[0].text == "The vault code hangs inside."


def test_old_rows_lose_precision_and_pinned_ones_do_not(database, monkeypatch):
    shelf = Shelf(database)
    keeping.add_note(shelf, "An ordinary note of last year.")
    keeping.add_note(shelf, "A pinned note of last year.", pinned=True)
    forgetting = keeping.Forgetting(shelf)
    monkeypatch.setattr(keeping, "now", lambda: now() + timedelta(days=400))
    plan = forgetting.plan(None)
    last = plan["fidelity"]["steps"][-1]
    assert (last["rows"], last["rows_changed"]) == (7, 7)  # of 8
    before = shelf.store.describe()["bits"]
    keeping.add_note(shelf, "One more.")
    with pytest.raises(InvalidInputError, match="changed since the plan"):
        forgetting.carry_out(plan["plan"])
    assert shelf.store.describe()["bits"] == {"4": sum(before.values()) + 1}
    assert forgetting.carry_out(forgetting.plan(None)["plan"])["dry_run"] is False
    bits = shelf.store.describe()["bits"]
    assert bits["1"] in (7, 8)
    assert bits["4"] >= 1
    assert shelf.store.count() == 9


def test_faded_memories_stand_back_and_are_listed(database, monkeypatch):
    shelf = Shelf(database)
    keeping.add_note(shelf, "The canteen serves lunch at noon.", value=0.5)
    keeping.add_note(shelf, "The canteen serves lunch at one.")
    fading = Strength(half_life_days=30, floor=0.1)
    asked = finding.Question("when does the canteen serve lunch?", 2, min_relevance=0.7)
    found = finding.search(shelf, asked, fading)
    assert found["results"][0]["text"].endswith("at one.")
    assert found["results"][0]["strength"] == 1
    (faded,) = [row for row in found["suppressed"] if row["text"].endswith("at noon.")]
    assert faded["strength"] == 0.5
    assert "value × freshness" in faded["reason"]
    plain = finding.search(shelf, asked, None)
    assert {row["text"][-5:] for row in plain["results"]} == {"noon.", " one."}
    monkeypatch.setattr(finding, "now", lambda: now() + timedelta(days=30))
    later = finding.search(shelf, asked, fading)
    assert later["results"] == []
    strengths = {row["text"][-5:]: row["strength"] for row in later["suppressed"]}
    assert strengths["noon."] == pytest.approx(0.25, abs=0.002)
    assert strengths[" one."] == pytest.approx(0.5, abs=0.002)


def test_an_empty_store_is_made_and_read_only_ones_do_not_write(host, tmp_path, talk):
    shelf = Shelf(tmp_path / "memory", new=host)

    async def first(call):
        with pytest.raises(Refused, match="is empty"):
            await call("search", question="anything")
        with pytest.raises(Refused, match="note is empty"):
            await call("add_note", text=" ")
        with pytest.raises(Refused, match="which the store uses"):
            await call("add_note", text="x y", fields={"source": "mine"})
        await call("add_note", text="One fact.")
        assert len((await call("search", question="fact"))["results"]) == 1

    talk(made(shelf), first)

    async def second(call):
        names = {tool.name for tool in (await call.client.list_tools()).tools}
        assert not names & {"add_note", "forget"}
        with pytest.raises(Refused, match="question is empty"):
            await call("search", question=" ")
        with pytest.raises(Refused, match="less than or equal to 100"):
            await call("search", question="fact", limit=1000)
        with pytest.raises(Refused, match="has no relevance"):
            await call("search", question="fact", ranking="cosine", min_relevance=0.5)
        with pytest.raises(Refused, match="no row 'nothing'"):
            await call("related", id="nothing")
        with pytest.raises(Refused, match="not among the first 1 results"):
            await call("explain", question="fact", id="nothing")

    talk(made(Shelf(tmp_path / "memory"), read_only=True), second)


def test_filters_mean_the_same_in_both_hosts():
    asked = {"year": {"$gte": 1990, "$lt": 2000}, "$or": [{"a": "it's"}, {"b": {"$in": [1, 2]}}]}
    assert as_where("lancedb", asked, ["x.md"]) == (
        "((`year` >= 1990 AND `year` < 2000) AND (`a` = 'it''s' OR (`b` IN (1, 2))) AND "
        "(`source` IN ('x.md')))"
    )
    assert json.loads(as_where("chroma", {"year": 1}, None)) == {"year": 1}
    assert as_where("lancedb", None, None) is None
    for bad in ({"$not": 1}, {"a": {"$like": "x"}}, {"a": None}, {"$and": []}, {"a": {"$in": []}}):
        for host in ("chroma", "lancedb"):
            with pytest.raises(InvalidInputError, match="filters"):
                as_where(host, bad, None)


def test_a_ledger_survives_a_line_that_was_cut_short(tmp_path):
    ledger = Ledger(tmp_path, "docs")
    assert ledger.read(5) == []
    ledger.write("add_note", note="a")
    with ledger.path.open("a") as file:
        file.write('{"action": "for')
    assert [entry["note"] for entry in ledger.read(5)] == ["a"]
