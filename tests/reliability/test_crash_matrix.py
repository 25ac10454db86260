"""Every verb that writes is killed at random moments; nothing is lost, nothing half there.

After each kill a new process finds every user row, an answer of one generation, and what
``verify`` names is mended by ``repair``; the verb called again comes to its end. The counts are
printed at the end of the test report.
"""

import pytest
from support.crashes import chroma_store, lancedb_store
from support.crashes.matrix import Matrix

KILLS = 20
STORES = {
    "chroma": ("support.crashes.chroma_store", [], chroma_store.VERBS),
    "lancedb columns": ("support.crashes.lancedb_store", ["columns"], lancedb_store.VERBS),
    "lancedb companion": ("support.crashes.lancedb_store", ["companion"], lancedb_store.VERBS),
}
SMALL = [
    ("chroma", "build", 2),
    ("chroma", "upsert", 2),
    ("lancedb columns", "refit", 2),
    ("lancedb columns", "merge_insert", 2),
]


@pytest.fixture(scope="module")
def matrices(nursery, tmp_path_factory):
    return {
        host: Matrix(nursery, store, options, tmp_path_factory.mktemp("crash"), host)
        for host, (store, options, _) in STORES.items()
    }


@pytest.mark.parametrize(
    ("host", "verb", "kills"),
    [
        *SMALL,
        *(
            pytest.param(host, verb, KILLS, marks=pytest.mark.slow)
            for host, (_, _, verbs) in STORES.items()
            for verb in verbs
        ),
    ],
)
def test_killed_at_random(matrices, report, host, verb, kills):
    tally = matrices[host].run(verb, kills)
    report.append(tally.line())
    assert tally.survived == tally.kills == kills
