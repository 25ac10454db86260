"""What people call first: the published weights, and an embedding function of their own."""

import subprocess
import sys

import chromadb
import numpy as np
import pytest
from energy_chroma import EnergyCollection

_FETCH = """
import sys
from energy_plugin.errors import CheckpointError
from energy_plugin.optical import OpticalEncoder
assert "huggingface_hub" not in sys.modules
try:
    OpticalEncoder.from_pretrained("nobody/nothing", cache_dir=sys.argv[1], local_files_only=True)
except CheckpointError as error:
    print(error)
"""


def test_published_weights_are_asked_for_in_a_fresh_process(tmp_path):
    pytest.importorskip("huggingface_hub")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FETCH, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.startswith("no encoder of 'nobody/nothing' at 'main' in the cache")
    assert done.stderr == ""


class _Lengths:
    """An embedding function as people write it, with what Chroma asks for and no more."""

    def __call__(self, input):
        rows = np.random.default_rng(0).standard_normal((200, 16))
        return [rows[len(text)].astype(np.float32) for text in input]

    def embed_query(self, input):
        return self(input)

    def name(self):
        return "lengths"


def test_an_embedding_function_without_the_base_class_answers(tmp_path):
    client = chromadb.PersistentClient(str(tmp_path))
    plain = client.create_collection("notes", embedding_function=_Lengths())
    notes = ["x" * n for n in range(1, 60)]
    plain.add(ids=notes, documents=notes)
    assert plain.query(query_texts=["x" * 7], n_results=1)["ids"] == [["x" * 7]]
    energy = EnergyCollection(plain).build()
    assert energy.query(query_texts=["x" * 7], n_results=1)["ids"] == [["x" * 7]]
    again = EnergyCollection(client.get_collection("notes", embedding_function=_Lengths()))
    assert again.query(query_texts=["x" * 30], n_results=1)["ids"] == [["x" * 30]]
    assert again.verify() == []
