"""AsyncEnergyTable over LanceDB's own asynchronous tables."""

import asyncio

import lancedb
import numpy as np
import pytest
from energy_lancedb import AsyncEnergyTable, EnergyReranker, EnergyTable
from lancedb.index import FTS
from support.lancedb_data import embed, ngrams, rows_of, text_of, text_schema

from energy_plugin.errors import InvalidInputError, NotBuiltError

N = 120
QUERY = "river quiet river rapid river"


def run(tmp_path, work, n=N):
    async def main():
        database = await lancedb.connect_async(tmp_path)
        schema = text_schema(ngrams())
        table = await database.create_table("pages", schema=schema)
        await table.add(rows_of(n))
        return await work(table)

    return asyncio.run(main())


def test_the_answers_are_those_of_the_synchronous_table(tmp_path):
    async def work(table):
        energy = await AsyncEnergyTable(table).build()
        query = energy.search(QUERY).where("year > 2003").select(["id"]).limit(8).offset(2)
        return {
            "arrow": (await query.to_arrow()).to_pylist(),
            "list": await query.to_list(),
            "pandas": (await query.to_pandas())["id"].tolist(),
            "polars": (await query.to_polars())["id"].to_list(),
            "batches": [b async for b in await query.to_batches(max_batch_length=3)],
            "pydantic": await energy.search(QUERY).limit(3).to_pydantic(text_schema(ngrams())),
            "awaited": await (await energy.search(embed([QUERY])[0])).limit(3).to_list(),
            "several": await energy.search([QUERY, "metal"]).limit(2).with_terms().to_list(),
        }

    got = run(tmp_path, work)
    energy = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    query = energy.search(QUERY).where("year > 2003").select(["id"]).limit(8).offset(2)
    want = query.to_list()
    assert got["arrow"] == got["list"] == want
    ids = [row["id"] for row in want]
    assert got["pandas"] == got["polars"] == ids
    assert [row for batch in got["batches"] for row in batch["id"].to_pylist()] == ids
    assert max(batch.num_rows for batch in got["batches"]) == 3
    first = energy.search(QUERY).limit(3).to_list()
    assert [page.id for page in got["pydantic"]] == [row["id"] for row in first]
    assert got["awaited"] == first
    assert got["several"] == energy.search([QUERY, "metal"]).limit(2).with_terms().to_list()


def test_rows_that_change(tmp_path):
    async def work(table):
        energy = await AsyncEnergyTable(table).build()
        await energy.add(rows_of(3, start=N))
        await energy.update({"vector": embed(["music"])[0].tolist()}, where="id = 30")
        await energy.update(updates_sql={"year": "year + 1"}, where="id = 31")
        merge = energy.merge_insert("id").when_not_matched_insert_all()
        await merge.execute(rows_of(2, start=N + 2))
        await energy.delete("id < 5")
        version = await table.version()
        await table.add(rows_of(1, start=N + 4))  # without the plugin
        stale = len((await energy.info()).pending)
        count = len(await energy.refresh())
        await energy.optimize()
        await energy.refit()
        await energy.maintain()
        plan = await energy.forget("2100-01-01", time_key="year")
        assert len(plan) == N
        assert [finding.kind for finding in await energy.verify()] == []
        assert (await energy.repair()).remaining == ()
        await energy.checkout(version)
        old = await energy.search(text_of(N + 4)).limit(1).to_list()
        await energy.checkout_latest()
        new = await energy.search(text_of(N + 4)).limit(1).to_list()
        music = await energy.search(embed(["music"])[0]).limit(1).to_list()
        info = await energy.info()
        await energy.restore(version)
        restored = (await energy.info()).rows
        await energy.drop()
        with pytest.raises(NotBuiltError):
            await energy.search("x").to_list()
        return stale, count, old[0]["id"], new[0]["id"], music[0]["id"], info.rows, restored

    stale, count, old, new, music, rows, restored = run(tmp_path, work)
    assert (stale, count) == (1, 1)
    assert old != new == N + 4
    assert music == 30
    assert (rows, restored) == (N, N - 1)


def test_the_event_loop_goes_on_during_a_build(tmp_path):
    async def work(table):
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1

        heart = asyncio.create_task(beat())
        energy = await AsyncEnergyTable(table).build()
        during = beats
        heart.cancel()
        found = await asyncio.gather(
            *(energy.search(text_of(i)).limit(1).to_list() for i in (3, 9))
        )
        return during, [rows[0]["id"] for rows in found]

    during, found = run(tmp_path, work)
    assert during >= 3
    assert found == [3, 9]


@pytest.mark.parametrize("built", [True, False])
def test_reranking_asynchronous_searches(tmp_path, built):
    async def work(table):
        await table.create_index("text", config=FTS())
        energy = AsyncEnergyTable(table)
        if built:
            await energy.build()
        ranker = EnergyReranker(energy, top_k=12)
        vector = embed([QUERY])[0]
        by_vector = table.vector_search(vector).limit(N)
        everything = await by_vector.rerank(ranker.for_vector(vector), query_string="-").to_arrow()
        by_text = await (
            table.query().nearest_to_text(QUERY).limit(30).rerank(EnergyReranker(table)).to_arrow()
        )
        hybrid = await (
            table.query().nearest_to(vector).nearest_to_text(QUERY).limit(12).rerank(ranker)
        ).to_arrow()
        best = await energy.search(QUERY).limit(12).to_arrow() if built else None
        return everything, by_text, hybrid, best

    everything, by_text, hybrid, best = run(tmp_path, work)
    assert everything.num_rows == 12
    if built:
        assert everything["id"].to_pylist() == best["id"].to_pylist()
    for result in (everything, by_text, hybrid):
        assert result["topic"].to_pylist()[:5] == ["river"] * 5
        assert np.all(np.diff(result["_relevance_score"].to_numpy()) <= 0)


def test_the_wrong_kind_of_table_is_named(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", rows_of(3))
    with pytest.raises(InvalidInputError, match="Use EnergyTable for a synchronous one"):
        AsyncEnergyTable(table)

    async def work(table):
        with pytest.raises(InvalidInputError, match=r"AsyncEnergyTable\(table\)"):
            EnergyTable(table)

    run(tmp_path / "other", work, n=3)
