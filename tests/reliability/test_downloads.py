"""Downloads that break off, and answers that are not what was asked for, from a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.deepencoder_oracle import NARROW, seeded_weights
from support.hub_server import serving
from support.processes import bound_by_permissions

from energy_plugin.errors import CheckpointError
from energy_plugin.optical.weights import files as weights
from energy_plugin.optical.weights import hub

pytest.importorskip("huggingface_hub")

FIRST, SECOND = "1" * 40, "2" * 40
NAME = "model.safetensors"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The bytes of a published file of a small encoder."""
    tensors = {f"model.{key}": value.bfloat16() for key, value in seeded_weights(NARROW).items()}
    path = tmp_path_factory.mktemp("hub") / NAME
    save_file({**tensors, "lm_head.weight": torch.ones(64)}, path)
    return path.read_bytes()


@pytest.fixture
def server(file, monkeypatch):
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)  # between its six attempts
    with serving({NAME: file}.get, FIRST) as one:
        yield one


def breaks_off(handler, data, start, stop):
    handler.head(206, len(data))
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    handler.close_connection = True


def sends_less(handler, data, start, stop):
    handler.head(206, len(data) - 1000)
    handler.wfile.write(data[:-1000])


def sends_more(handler, data, start, stop):
    handler.head(206, len(data) + 1000)
    handler.wfile.write(data + bytes(1000))


def sends_another_part(handler, data, start, stop):
    handler.head(206, len(data), Content_Range=f"bytes {start + 8}-{stop + 8}/{10**9}")
    handler.wfile.write(data)


def refuses(handler, data, start, stop):
    handler.head(503, 0)


FAULTS = [
    (breaks_off, "cannot fetch the encoder of 'owner/model'"),
    (sends_less, "to a request for"),
    (sends_more, "to a request for"),
    (sends_another_part, "answered with 'bytes"),
    (refuses, "503"),
]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_download_that_fails_leaves_nothing(server, tmp_path, file, fault, message):
    url, handler = server
    handler.fault = fault
    with pytest.raises(CheckpointError, match=message):
        hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    assert files(tmp_path) == []
    handler.fault = None
    fetched = hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    assert weights.digest(weights.read(fetched)) == weights.digest(_encoder(file, tmp_path))


def _encoder(file, folder):
    path = folder / "whole.safetensors"
    path.write_bytes(file)
    found = load_file(path)
    path.unlink()
    return {
        key.removeprefix("model."): value for key, value in found.items() if "lm_head" not in key
    }


def test_a_newer_version_that_breaks_off_leaves_the_former(server, tmp_path):
    url, handler = server
    former = hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    handler.version, handler.fault = SECOND, breaks_off
    assert hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url) == former
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    assert hub.fetch("owner/model", cache_dir=tmp_path, local_files_only=True) == former
    handler.fault = None
    later = hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    assert SECOND in str(later)


CHILD = """
import sys
from energy_plugin.optical.weights import hub
hub.fetch("owner/model", cache_dir=sys.argv[1], endpoint=sys.argv[2])
"""


def test_a_download_that_is_killed_is_begun_anew(server, tmp_path):
    """What the killed process left is removed a day later, when nobody writes to it any more."""
    url, handler = server
    stands = threading.Event()

    def stall(handler, data, start, stop):
        handler.head(206, len(data))
        handler.wfile.write(data[:1000])
        stands.set()
        time.sleep(120)

    handler.fault = stall
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), url])
    try:
        assert stands.wait(timeout=120)
    finally:
        child.kill()
        child.wait()
    (left,) = tmp_path.rglob("*.part")
    handler.fault = None
    fetched = hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    assert left.exists()
    fetched.unlink()
    day = time.time() - 2 * hub.ABANDONED_SECONDS
    os.utime(left, (day, day))
    assert hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url) == fetched
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_leaves_no_half_of_a_file(server, tmp_path, small_disk):
    url, _ = server
    folder = small_disk(60_000)
    with pytest.raises(CheckpointError, match="No space left on device"):
        hub.fetch("owner/model", cache_dir=folder, endpoint=url)
    assert files(folder) == []


def test_a_cache_that_cannot_be_written(server, tmp_path):
    """What is there is used; what is not there is an error of ours."""
    url, _ = server
    hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    code = f"""
from energy_plugin.errors import CheckpointError
from energy_plugin.optical.weights import hub
from energy_plugin.optical.weights import published
from energy_plugin.optical.weights import files as weights
print(hub.fetch("owner/model", cache_dir={str(tmp_path)!r}, endpoint={url!r}).name)
try:
    hub.fetch("owner/other", cache_dir={str(tmp_path)!r}, endpoint={url!r})
except CheckpointError as error:
    print("Permission denied" in str(error))
"""
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [*bound_by_permissions(), code]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["encoder.safetensors", "True"]


def test_a_cached_file_that_was_cut_is_refused(server, tmp_path):
    url, _ = server
    fetched = hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    data = fetched.read_bytes()
    for size in np.linspace(0, len(data) - 1, 12).astype(int):
        fetched.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            weights.read(fetched)


def test_an_index_that_is_cut_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": 3}))
    with pytest.raises(CheckpointError):
        weights.read(tmp_path)
