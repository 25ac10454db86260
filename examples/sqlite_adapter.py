# ruff: noqa: D102 - energy_plugin.stored.Database says what each method does
"""A host of its own for the energy field, as a pattern: a table of SQLite.

Run with ``python examples/sqlite_adapter.py [file]``; without a file nothing is kept.
"""

import secrets
import sqlite3
import sys

import numpy as np

from energy_plugin.stored import Generation, HostedField
from energy_plugin.stored.database import columns_of

KINDS = {"lambda": "REAL", "dispersion": "REAL", "cell": "INTEGER", "residual": "BLOB"}
COLUMNS = [f"energy_{name}" for name in KINDS]


class SqliteTable:
    """A table with columns ``id``, ``text`` and ``vector`` (float32 bytes), and any others."""

    def __init__(self, connection, table, embed, embedder=None):
        self.connection, self.name = connection, table
        self.embed_query, self._embedder = embed, embedder

    def _rows(self, query, values=()):
        return self.connection.execute(query.replace("TABLE_", f'"{self.name}"'), values).fetchall()

    def _mark(self):
        # the column of fingerprints names the field's table, so that both outlive a renaming
        names = [row[1] for row in self._rows("PRAGMA table_info(TABLE_)")]
        return next((name for name in names if name.startswith("energy_print_")), None)

    def count(self):
        return self._rows("SELECT count(vector) FROM TABLE_")[0][0]

    def ids(self, *, ids=None):
        found = [name for (name,) in self._rows("SELECT id FROM TABLE_ WHERE vector IS NOT NULL")]
        return found if ids is None else [name for name in found if name in set(ids)]

    def vectors(self, ids):
        query = "SELECT id, vector FROM TABLE_ WHERE id = ? AND vector IS NOT NULL"
        found = dict(row for name in ids for row in self._rows(query, (name,)))
        return list(found), np.array([np.frombuffer(v, np.float32) for v in found.values()])

    def pages(self, rows=5_000):
        ids = self.ids()
        for start in range(0, len(ids), rows):
            yield self.vectors(ids[start : start + rows])

    def state(self):
        return self._rows("PRAGMA data_version")[0][0], self.connection.total_changes

    def embedder(self):
        return self._embedder

    def matching(self, where):
        return [name for (name,) in self._rows(f"SELECT id FROM TABLE_ WHERE {where}")]

    def records(self, ids):
        query = "SELECT id, text FROM TABLE_ WHERE id = ?"
        return {name: (text, {}) for i in ids for name, text in self._rows(query, (i,))}

    def values(self, key):
        return dict(self._rows(f'SELECT id, "{key}" FROM TABLE_ WHERE "{key}" IS NOT NULL'))

    def generation(self):
        mark = self._mark()
        return self._rows(f"SELECT coalesce(max(number), 0) FROM {mark}")[0][0] if mark else 0

    def read(self):
        with self.connection:
            self.connection.execute("BEGIN")  # one state of the file for both
            if (mark := self._mark()) is None:
                return None
            ((number, embedder, field),) = self._rows(f"SELECT * FROM {mark}")
            names = f"id, {', '.join(COLUMNS)}, {mark}"
            rows = self._rows(f"SELECT {names} FROM TABLE_ WHERE {mark} IS NOT NULL ORDER BY rowid")
        ids, *columns, prints = zip(*rows, strict=True) if rows else [()] * 6
        prints = np.array(prints, dtype=np.uint32)
        return Generation(number, field, embedder, ids, columns_of(*columns, field), prints)

    def publish(self, new):
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            if (mark := self._mark()) is None:
                mark = f"energy_print_{secrets.token_hex(4)}"
                for name, kind in zip(COLUMNS, KINDS.values(), strict=True):
                    self._rows(f"ALTER TABLE TABLE_ ADD COLUMN {name} {kind}")
                self._rows(f"ALTER TABLE TABLE_ ADD COLUMN {mark} INTEGER")
                self._rows(f"CREATE TABLE {mark} (number INTEGER, embedder TEXT, field BLOB)")
            number = self.generation() + 1
            self._rows(f"DELETE FROM {mark}")
            self._rows(f"INSERT INTO {mark} VALUES (?, ?, ?)", (number, new.embedder, new.field))
            self._rows(f"UPDATE TABLE_ SET {mark} = NULL")
            self._put(mark, new.ids, new.columns, new.fingerprints)
        return number

    def write(self, number, ids, columns, fingerprints, removed):
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            if number != self.generation():
                return False
            self._put(self._mark(), ids, columns, fingerprints)
            for name in removed:  # rows that have lost their vector
                self._rows(f"UPDATE TABLE_ SET {self._mark()} = NULL WHERE id = ?", (name,))
        return True

    def _put(self, mark, ids, columns, prints):
        scalars = (columns.lambda_.tolist(), columns.dispersion.tolist(), columns.cell.tolist())
        codes = [row.tobytes() for row in columns.residual]
        names = " = ?, ".join([*COLUMNS, mark])
        for row in zip(*scalars, codes, prints.tolist(), ids, strict=True):
            self._rows(f"UPDATE TABLE_ SET {names} = ? WHERE id = ?", row)

    def drop(self):
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            if (mark := self._mark()) is not None:
                self._rows(f"DROP TABLE {mark}")
                for name in (*COLUMNS, mark):
                    self._rows(f"ALTER TABLE TABLE_ DROP COLUMN {name}")


NOTES = {
    "shock-wave": "The shock wave in front of a blunt body at supersonic speed.",
    "blood-cells": "Counting white blood cells in patients with an infection.",
    "sorting": "Sorting a long file on tape with few passes over the data.",
}


def main():
    """Fill a table, build its field, ask it."""
    from energy_plugin import OpticalEncoder

    encoder = OpticalEncoder.from_pretrained("compact")
    connection = sqlite3.connect([*sys.argv, ":memory:"][1], isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS notes (id PRIMARY KEY, text TEXT, vector BLOB)")
    for name, text in NOTES.items():
        row = (name, text, encoder.encode_document(text).tobytes())
        connection.execute("INSERT OR REPLACE INTO notes (id, text, vector) VALUES (?, ?, ?)", row)
    table = SqliteTable(connection, "notes", encoder.encode_query, encoder.fingerprint)
    for hit in HostedField(table).build().search("cells in the blood", 3, where="id <> 'sorting'"):
        print(f"{hit.distance:.3f}  {hit.id:13} {hit.text}")


if __name__ == "__main__":
    main()
