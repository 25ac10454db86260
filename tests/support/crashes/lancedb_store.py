"""A LanceDB table for the crash matrix: its rows, its verbs, what a new process finds."""

import shutil
from datetime import datetime, timedelta, timezone

import lancedb
import numpy as np
import pyarrow as pa
from energy_lancedb import EnergyTable

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import NotBuiltError
from support.crashes.state import State, digest
from support.lancedb_data import DIM, embed, plain_rows, plain_schema, text_of

ROWS, GROWN, WRITTEN = 240, 60, 40
VERBS = ("first build", "build", "add", "merge_insert", "delete", "maintain", "refit", "forget")
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
FORMER, LATER = EnergyConfig(bits=8), EnergyConfig(bits=2, seed=1)
K = 10
# Numbers of rows that add and merge_insert write, and delete deletes.
WRITES = [*range(0, 80, 2), *range(260, 340), *range(1000, 1040)]
COLUMNS = ["id", "text", "year", "topic", "written", "vector"]


def _rows(numbers, wording=""):
    rows = []
    for i in numbers:
        row = plain_rows(1, start=i)[0]
        if wording:
            row["text"] = f"{wording} {row['text']}"
            row["vector"] = embed([row["text"]])[0]
        rows.append({**row, "written": NOW - timedelta(days=3 * i)})
    return rows


def _grown(numbers):
    """Rows of one kind far from the others, which overload a cell."""
    noise = np.random.default_rng(3).normal(0, 0.1, (len(numbers), DIM))
    drifted = (np.eye(DIM)[0] + noise).astype(np.float32)
    return [{**row, "vector": vector} for row, vector in zip(_rows(numbers), drifted, strict=True)]


def prepare(say, folder, verb, layout):
    """The store before the verb."""
    schema = plain_schema().append(pa.field("written", pa.timestamp("us", tz="UTC")))
    database = lancedb.connect(folder)
    table = database.create_table("pages", _rows(range(ROWS // 2)), schema=schema)
    table.add(_rows(range(ROWS // 2, ROWS)))  # two fragments
    if verb != "first build":
        energy = EnergyTable(table, device="cpu").build(FORMER, layout=layout)
        energy.add(_grown(range(ROWS, ROWS + GROWN)))
    return {}


def _open(folder):
    return lancedb.connect(folder).open_table("pages")


def _do(energy, verb, layout):
    if verb in ("first build", "build"):
        energy.build(LATER, layout=layout)
    elif verb == "add":
        energy.add(_rows(range(1000, 1000 + WRITTEN)))
    elif verb == "merge_insert":  # half of them new
        rows = _rows(range(ROWS + GROWN - WRITTEN, ROWS + GROWN + WRITTEN), wording="other")
        schema = energy.table.schema
        data = pa.Table.from_pylist(rows, pa.schema([schema.field(name) for name in COLUMNS]))
        builder = energy.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        builder.execute(data)
    elif verb == "delete":
        energy.delete(f"id < {2 * WRITTEN} AND id % 2 = 0")
    elif verb == "maintain":
        energy.maintain()
    elif verb == "refit":
        energy.refit(LATER)
    elif verb == "forget":
        energy.forget(NOW, time_key="written", dry_run=False)
    else:
        raise AssertionError(verb)


def act(say, folder, verb, layout):
    """The verb, between two marks."""
    energy = EnergyTable(_open(folder), device="cpu")
    energy.table.count_rows()
    say("begin")
    _do(energy, verb, layout)
    return "end"


def _visible(table):
    """What stands in the table: id → digest of all its columns but the energy's."""
    found = table.search().select(COLUMNS).limit(None).to_arrow()
    rows = found.drop_columns(["vector"]).to_pylist()
    vectors = found["vector"].to_pylist()
    seen = {}
    for row, vector in zip(rows, vectors, strict=True):
        name = str(row.pop("id"))
        assert name not in seen, f"row {name} stands there twice"
        row["written"] = row["written"].isoformat()
        seen[name] = digest(np.asarray(vector, dtype=np.float32).tobytes(), row)
    return seen


def _queries():
    """Vectors near rows of each kind."""
    texts = [text_of(i) for i in (2, 3, 100, ROWS + GROWN - 1, 1003)]
    return np.concatenate(
        [embed([*texts, f"other {text_of(ROWS + 1)}"]), np.eye(DIM, dtype=np.float32)[:1]]
    )


def _answers(energy):
    found = energy.search(_queries()).select(["id"]).limit(K).to_arrow().to_pylist()
    answers = [[] for _ in _queries()]
    for row in found:
        answers[row["query_index"]].append((str(row["id"]), row["_distance"]))
    return answers


def _astray(energy):
    """Of the rows that the verbs write, those that a search for their vector does not find."""
    some = f"id IN ({', '.join(map(str, WRITES))})"
    got = energy.table.search().where(some).select(["id", "vector"]).limit(None).to_list()
    vectors = np.array([row["vector"] for row in got], dtype=np.float32)
    found = energy.search(vectors).select(["id"]).limit(1).to_list()
    return [str(row["id"]) for row, hit in zip(got, found, strict=True) if row["id"] != hit["id"]]


def _state(table):
    rows = _visible(table)
    energy = EnergyTable(table, device="cpu")
    try:
        answers = _answers(energy)
    except NotBuiltError:
        return State(rows, None, 0, [])
    info = energy.info()
    astray = _astray(energy) if info.config["bits"] == FORMER.bits else []
    return State(rows, answers, info.generation, astray)


def look(say, folder):
    """The whole state, as a new process sees it."""
    return _state(_open(folder)).to_json()


def mend(say, folder, verb, layout):
    """`look`, then verify, repair, and the verb once more to its end."""
    table = _open(folder)
    state = _state(table)
    say(state.to_json())
    energy = EnergyTable(table, device="cpu")
    found = [finding.kind for finding in energy.verify()]
    unbuilt = state.answers is None
    if unbuilt:  # killed before there was a first field
        assert verb == "first build"
        assert found == ["missing"]
    else:
        energy.repair()
    say(found)
    say([] if unbuilt else [str(one) for one in EnergyTable(_open(folder)).verify()])
    say(_state(_open(folder)).to_json())
    again = EnergyTable(_open(folder), device="cpu")
    if not (verb == "add" and "1000" in state.rows):  # would stand there twice
        _do(again, verb, layout)
    again.repair()
    assert EnergyTable(_open(folder), device="cpu").verify() == []
    database = lancedb.connect(folder)
    suffixed = [name for name in database.open_table("pages").schema.names if "__" in name]
    assert suffixed == []
    return _state(_open(folder)).to_json()


def between(say, folder, template, before, after):
    """The state of the former field over the rows of `folder`, of which some are as they were
    before and some as they are after: written by plain LanceDB into a copy of the store before."""
    rows = _visible(_open(folder))
    other = f"{folder}-between"
    shutil.copytree(template, other)
    made = _open(other)
    gone = [name for name in before if name not in rows]
    if gone:
        made.delete(f"id IN ({', '.join(gone)})")
    news = [name for name in rows if rows[name] != before.get(name)]
    assert all(rows[name] == after.get(name) for name in news)
    if news:
        got = _open(folder).search().where(f"id IN ({', '.join(news)})").select(COLUMNS)
        builder = made.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        builder.execute(got.limit(None).to_arrow())
    return _state(made).to_json()
