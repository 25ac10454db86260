"""S3-compatible storage: a real server on this machine, reached as LanceDB users reach theirs."""

import asyncio

import boto3
import lancedb
import pytest
from energy_lancedb import AsyncEnergyTable, EnergyTable
from moto.server import ThreadedMotoServer
from support.lancedb_data import embed, hits, plain_rows, plain_schema, text_of

from energy_plugin.energy import EnergyConfig

N = 120
BUCKET = "library"
KEYS = {"aws_access_key_id": "user", "aws_secret_access_key": "secret"}


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **KEYS).create_bucket(
        Bucket=BUCKET
    )
    yield url
    server.stop()


@pytest.fixture
def options(endpoint, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)  # nothing but the options leads there
    return {**KEYS, "region": "us-east-1", "endpoint": endpoint, "allow_http": "true"}


@pytest.mark.parametrize("layout", ["columns", "companion"])
def test_a_table_in_a_bucket(options, layout):
    uri = f"s3://{BUCKET}/{layout}"
    database = lancedb.connect(uri, storage_options=options)
    table = database.create_table("pages", plain_rows(N), schema=plain_schema())
    energy = EnergyTable(table).build(EnergyConfig(bits=8), layout=layout)
    vector = embed([text_of(7)])[0]
    first, version = hits(energy, vector), table.version
    assert first[0]["id"] == 7
    energy.add(plain_rows(3, start=N))
    table.delete("id = 7")
    table.add(plain_rows(1, start=N + 3))
    again = EnergyTable(lancedb.connect(uri, storage_options=options).open_table("pages"))
    assert (again.info().layout, len(again.info().pending), again.info().rows) == (layout, 1, N + 3)
    assert len(again.refresh()) == 1
    assert hits(again, embed([text_of(N + 3)])[0], 1)[0]["id"] == N + 3
    assert 7 not in [row["id"] for row in hits(again, vector, N)]
    again.build(EnergyConfig(bits=2), layout=layout)
    again.restore(version)
    assert hits(again, vector) == first
    assert again.info().generation == 1


def test_an_asynchronous_table_in_a_bucket(options):
    async def main():
        uri = f"s3://{BUCKET}/async"
        database = await lancedb.connect_async(uri, storage_options=options)
        table = await database.create_table("pages", plain_rows(N), schema=plain_schema())
        energy = await AsyncEnergyTable(table).build(layout="columns")
        await energy.add(plain_rows(1, start=N))
        found = await energy.search(embed([text_of(N)])[0]).limit(1).to_list()
        return found[0]["id"], await energy.info()

    found, info = asyncio.run(main())
    assert found == N
    assert (info.layout, len(info.pending), info.rows) == ("columns", 0, N + 1)
