"""A LanceDB database with one table of 100 rows, new for each test."""

import lancedb
import pytest
from support.lancedb_data import N, ngrams, rows_of, text_schema


@pytest.fixture
def database(tmp_path):
    return lancedb.connect(tmp_path)


@pytest.fixture
def table(database):
    table = database.create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    return table
