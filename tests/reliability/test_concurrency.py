"""Threads, processes and clients that work on one store at once.

No call fails, no answer mixes two generations, no row is lost. How long the calls took is printed
at the end of the test report.
"""

import numpy as np
import pytest
from support.chroma_server import Server

SECONDS, LOADED_SECONDS = 2, 60
SLACK_SECONDS = 240
WRITING = ["write", "write", "read", "read", "keep"]
COMPARING = ["compare", "compare", "keep"]


@pytest.fixture
def place(request, tmp_path):
    """Host, and where its store is: a folder, or the port of a server on one."""
    host, where = request.param
    folder = str(tmp_path / "store")
    if where == "server":
        with Server(folder) as server:
            yield host, server.port
    else:
        yield host, folder


def on(*places):
    return pytest.mark.parametrize("place", places, ids="-".join, indirect=True)


COMPANION = pytest.param(("lancedb companion", "folder"), marks=pytest.mark.slow)
seconds = pytest.mark.parametrize(
    "seconds", [SECONDS, pytest.param(LOADED_SECONDS, marks=pytest.mark.slow)]
)


def in_threads(nursery, host, where, roles, seconds, known=None):
    """Roles in threads of one process, which share one object."""
    child = nursery.start("support.load.work:threads", host, where, roles, seconds, known)
    return child.result(seconds + SLACK_SECONDS)


def in_processes(nursery, host, where, roles, seconds, known=None):
    """Roles in a process each."""
    children = [
        nursery.start("support.load.work:work", host, where, role, number, seconds, known)
        for number, role in enumerate(roles)
    ]
    return [child.result(seconds + SLACK_SECONDS) for child in children]


def written(done):
    return {number: stamp for one in done for number, stamp in one["rows"].items()}


def lines(title, done):
    """Percentiles of each kind of call, over all that made it."""
    kinds = {}
    for one in done:
        for name, times in one["seconds"].items():
            kinds.setdefault(name, []).extend(times)
    for name, times in sorted(kinds.items()):
        p50, p95, p99 = np.percentile(np.array(times) * 1000, [50, 95, 99])
        yield (
            f"{title:<48} {name:<8} {len(times):>6} calls:"
            f" p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} ms"
        )


@seconds
@on(("chroma", "folder"), ("lancedb", "folder"))
def test_threads_share_a_field(nursery, report, place, seconds):
    host, where = place
    nursery.run("support.load.work:prepare", host, where)
    done = in_threads(nursery, host, where, WRITING, seconds)
    left = nursery.run("support.load.work:settle", host, where, written(done))
    assert left["generation"] > 1
    report.extend(lines(f"{host}: {len(WRITING)} threads, {seconds} s", done))


@seconds
@on(("chroma", "server"), ("lancedb", "folder"), COMPANION)
def test_processes_share_a_store(nursery, report, place, seconds):
    host, where = place
    nursery.run("support.load.work:prepare", host, where)
    done = in_processes(nursery, host, where, WRITING, seconds)
    left = nursery.run("support.load.work:settle", host, where, written(done))
    assert left["generation"] > 1
    report.extend(lines(f"{host}: {len(WRITING)} processes, {seconds} s", done))


@seconds
@on(("chroma", "folder"), ("lancedb", "folder"))
def test_threads_read_while_generations_replace_each_other(nursery, report, place, seconds):
    host, where = place
    nursery.run("support.load.work:prepare", host, where)
    before = nursery.run("support.load.work:generations", host, where)
    done = in_threads(nursery, host, where, COMPARING, seconds, before["known"])
    left = nursery.run("support.load.work:settle", host, where, {})
    assert left["generation"] > before["generation"]
    report.extend(lines(f"{host}: {len(COMPARING)} threads, refits, {seconds} s", done))


@seconds
@on(("chroma", "server"), ("lancedb", "folder"), COMPANION)
def test_processes_read_while_generations_replace_each_other(nursery, report, place, seconds):
    host, where = place
    nursery.run("support.load.work:prepare", host, where)
    before = nursery.run("support.load.work:generations", host, where)
    done = in_processes(nursery, host, where, COMPARING, seconds, before["known"])
    left = nursery.run("support.load.work:settle", host, where, {})
    assert left["generation"] > before["generation"]
    report.extend(lines(f"{host}: {len(COMPARING)} processes, refits, {seconds} s", done))
