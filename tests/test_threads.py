"""A call takes as many threads as its work is worth, and leaves the settings of torch alone."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import energy_plugin
from energy_plugin import threads
from energy_plugin.errors import InvalidInputError
from energy_plugin.threads import WORK, threads_for

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts the threads in /proc")


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.delenv(threads.SETTING, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    energy_plugin.set_threads(None)
    torch.set_num_threads(before)


def test_threads_follow_the_work():
    for work, wanted in ((1, 1), (WORK - 1, 1), (WORK, 2), (2.5 * WORK, 3), (1e18, 3)):
        with threads_for(work):
            assert torch.get_num_threads() == wanted
        assert torch.get_num_threads() == 3


def test_an_inner_call_chooses_anew():
    with threads_for(1):
        assert torch.get_num_threads() == 1
        with threads_for():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
    with pytest.raises(ZeroDivisionError), threads_for(1):
        _ = 1 / 0
    assert torch.get_num_threads() == 3


def test_other_threads_keep_their_number():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait(30)
        seen.append(torch.get_num_threads())
        with threads_for(WORK):
            seen.append(torch.get_num_threads())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with threads_for(1):
        inside.set()
        assert done.wait(30)
        assert torch.get_num_threads() == 1
    thread.join(30)
    assert seen == [3, 2]


def test_the_setting_goes_before_torch(monkeypatch):
    assert energy_plugin.get_threads() == 3
    monkeypatch.setenv(threads.SETTING, "2")
    assert energy_plugin.get_threads() == 2
    with threads_for():
        assert torch.get_num_threads() == 2
    energy_plugin.set_threads(5)
    assert energy_plugin.get_threads() == 5
    with threads_for():
        assert torch.get_num_threads() == 5
    energy_plugin.set_threads(None)
    assert energy_plugin.get_threads() == 2
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "two"])
def test_a_setting_that_is_no_number_is_refused(monkeypatch, value):
    with pytest.raises(InvalidInputError, match=r"count must be a positive number of threads"):
        energy_plugin.set_threads(value)
    monkeypatch.setenv(threads.SETTING, "many")
    with pytest.raises(InvalidInputError, match=r"ENERGY_PLUGIN_THREADS must be .* got 'many'"):
        energy_plugin.get_threads()


_COUNTED = """
import json, os, sys
import numpy as np, torch
from energy_plugin import EnergyIndex, OpticalEncoder, set_threads
set_threads(1)
rng = np.random.default_rng(0)
rows = rng.standard_normal((6000, 64), dtype=np.float32)
index, encoder = EnergyIndex.fit(rows, device="cpu"), OpticalEncoder.from_pretrained(device="cpu")
set_threads(None)
torch.set_num_threads(4)
count = lambda: len(os.listdir("/proc/self/task"))
seen = [count()]
index.search(rows[5], 10)
index.encode(rows[5:6])
seen.append(count())
encoder.encode("How are warm threads counted?")
seen.append(count())
index.search(rows, 3)
seen.append(count())
print(json.dumps([*seen, torch.get_num_threads()]))
"""


@_LINUX
def test_a_question_starts_no_threads_and_a_large_batch_does():
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    before, searched, encoded, batch, setting = json.loads(done.stdout)
    assert before == searched == encoded
    assert batch > before
    assert setting == 4


def test_results_do_not_depend_on_the_setting():
    rows = np.random.default_rng(1).standard_normal((900, 32), dtype=np.float32)
    found = []
    for count in (1, 3):
        energy_plugin.set_threads(count)
        index = energy_plugin.EnergyIndex.fit(rows, device="cpu")
        found.append(index.search(rows[:40], 5))
    assert np.array_equal(found[0].ids, found[1].ids)
    assert np.allclose(found[0].distances, found[1].distances, atol=1e-5)
