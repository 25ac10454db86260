"""gunicorn with ``preload``, and multiprocessing by ``fork``: the children of a warm process.

Its threads are not in them; a call that waits for one never ends.
"""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.timeout(300),
]

_WARM = """
import json, os, signal, sys, time
import numpy as np, torch
from energy_plugin import EnergyIndex, OpticalEncoder
from energy_plugin.energy import EnergyReranker
from energy_plugin.optical import load_encoder

torch.set_num_threads(3)
rng = np.random.default_rng(0)
rows = rng.standard_normal((4000, 64), dtype=np.float32)
index, encoder = EnergyIndex.fit(rows, device="cpu"), load_encoder(device="cpu")
texts = [f"Page {n} of a book about forks, spoons and {n * 7} knives." for n in range(40)]
_ = torch.ones(3000, 3000) @ torch.ones(3000, 3000)  # the pool is up

def search():
    return index.search(rows[:300], 5).ids[:, :3].tolist()

def encode():
    return encoder.encode(texts).round(3)[:, :4].tolist()

def fit():
    return EnergyIndex.fit(rows[:3000], device="cpu").search(rows[:9], 3).ids[:, 0].tolist()

def rerank():
    return EnergyReranker(device="cpu").rerank(rows[0], rows[:500], k=9).order.tolist()

def load():
    return load_encoder(device="cpu", dtype="bfloat16").dim
"""

_FORK = """
for call in (search, encode, fit, rerank, load):
    wanted = call()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        with os.fdopen(writing, "w") as pipe:
            json.dump(call(), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"{call} ended with {status}: {signal.SIGALRM} is its alarm clock"
    assert json.loads(text) == wanted
    assert call() == wanted and torch.get_num_threads() == 3
"""

_POOL = """
import multiprocessing
wanted = search(), encode()
with multiprocessing.get_context("fork").Pool(2) as pool:
    calls = [pool.apply_async(call) for call in (search, encode, search, encode)]
    got = [call.get(60) for call in calls]
assert got == [*wanted, *wanted]
"""


def test_children_of_a_warm_process_answer_as_their_parent():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f'{_WARM}{_FORK}{_POOL}print("ok")'],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.stdout == "ok\n", done.stderr
