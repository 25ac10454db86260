"""A table whose ids are numbers of any width, categories or UUIDs lends the vectors of all."""

import uuid

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from energy_plugin.candidates import as_host
from energy_plugin.errors import InvalidInputError

_UUIDS = [uuid.UUID(int=7919 * n) for n in range(3)]
_WORDS = ["interest", "it's", "print"]
_IDS = {
    "int8": pa.array([1, 2, -3], pa.int8()),
    "int32": pa.array([1, 2, 2**31 - 1], pa.int32()),
    "int64": pa.array([1, -(2**63), 2**63 - 1], pa.int64()),
    "uint64": pa.array([1, 2, 2**64 - 1], pa.uint64()),
    "category": pa.array(_WORDS).dictionary_encode(),
    "numbered category": pa.DictionaryArray.from_arrays([2, 0, 1], pa.array([5, 6, 7])),
    "large text": pa.array(_WORDS, pa.large_string()),
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([each.bytes for each in _UUIDS], pa.binary(16))
    ),
    "bytes": pa.array([b"a", b"'", b"\x00\xff"]),
}


def _table(folder, ids):
    vectors = pa.array(np.eye(3, 4, dtype=np.float32).ravel())
    data = {"id": ids, "vector": pa.FixedSizeListArray.from_arrays(vectors, 4)}
    return lancedb.connect(str(folder)).create_table("rows", pa.table(data))


@pytest.mark.parametrize("kind", _IDS)
def test_vectors_are_found_by_ids_of_any_type(kind, tmp_path):
    names = [str(name) for name in _IDS[kind].to_pylist()]
    strangers = [
        "nobody",
        "400",
        "-9",
        str(2**63),
        str(2**64),
        str(uuid.UUID(int=5)),
        "b'z'",
        "1e3",
    ]
    host = as_host(_table(tmp_path, _IDS[kind]))
    found = host.vectors([*names, *strangers, names[0]])
    assert sorted(found) == sorted(names)
    for place, name in enumerate(names):
        assert found[name].tolist() == np.eye(3, 4)[place].tolist()
    assert host.vectors(strangers) == {}


@pytest.mark.parametrize("ids", [pa.array([0.5, 1.5, 2.5]), pa.array([[1], [2], [3]])])
def test_a_column_that_holds_no_ids_is_refused(ids, tmp_path):
    with pytest.raises(InvalidInputError, match=r"Column 'id' of table 'rows' holds .* id_column"):
        as_host(_table(tmp_path, ids)).vectors(["1"])
