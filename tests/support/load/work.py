"""What threads and processes do to one store for some seconds, and what must hold meanwhile."""

import functools
import threading
import time
import traceback

import numpy as np

from energy_plugin.energy import EnergyConfig
from support.crashes.state import alike
from support.load.sessions import SESSIONS, belongs, vector_of, vectors_of

BASE = 300  # rows that nobody changes
OWN = 100_000  # numbers of each writer
K = 10
FIELDS = [EnergyConfig(bits=8), EnergyConfig(bits=4, seed=1)]
QUERIES = [vector_of(number, 7) for number in range(6)]
PAUSE = 0.05  # seconds between two fits
SAMPLE = 300  # rows that are looked for at the end


class Clock:
    """Seconds of each kind of call."""

    def __init__(self):
        self.seconds = {}

    def __call__(self, name, call, *arguments):
        started = time.perf_counter()
        result = call(*arguments)
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        return result


def prepare(say, host, place):
    """A store of the base rows with a field."""
    session = SESSIONS[host](place, create=True)
    session.add(dict.fromkeys(range(BASE), 0))
    session.build(FIELDS[0])
    return {}


# -- roles: each works until its time is over and returns what it left in the store


def read(session, clock, rng, until, number, known):
    """Base rows are found by their vectors; every hit is a whole row, nearest first."""
    while time.monotonic() < until:
        numbers = rng.integers(BASE, size=3).tolist()
        hits = clock("search", session.search, [vector_of(number) for number in numbers], K)
        for number, found in zip(numbers, hits, strict=True):
            assert len(found) == K
            assert found[0][0] == number, f"{number} is not found by its vector: {found[:2]}"
            distances = [hit[1] for hit in found]
            assert distances == sorted(distances)
            assert len({hit[0] for hit in found}) == K
            for name, _, stamp, vector in found:
                belongs(name, stamp, vector)
    return {}


def write(session, clock, rng, until, number, known):
    """Rows of its own are added, changed and deleted; each change is seen by the next search."""
    mine, next_one, stamp = {}, OWN * (number + 1), 0
    while time.monotonic() < until:
        fresh = dict.fromkeys(range(next_one, next_one + 4), 0)
        next_one += 4
        clock("add", session.add, fresh)
        mine.update(fresh)
        _present(session, clock, fresh)
        if len(mine) >= 12:
            stamp += 1
            chosen = rng.choice(list(mine), size=2, replace=False).tolist()
            changed = dict.fromkeys(chosen, stamp)
            clock("change", session.change, changed)
            mine.update(changed)
            _present(session, clock, changed)
            gone = rng.choice(list(mine)).item()
            clock("delete", session.delete, [gone])
            vector = vector_of(gone, mine.pop(gone))
            found = clock("search", session.search, [vector], K)[0]
            assert gone not in [hit[0] for hit in found], f"{gone} was deleted"
    return {str(number): stamp for number, stamp in mine.items()}


def _present(session, clock, rows):
    hits = clock("search", session.search, list(vectors_of(rows)), 1)
    for (number, stamp), found in zip(rows.items(), hits, strict=True):
        assert [hit[0] for hit in found] == [number], f"{number} is not found by its vector"
        assert found[0][2] == stamp


def keep(session, clock, rng, until, number, known):
    """Generation after generation."""
    turn = 0
    while time.monotonic() < until:
        clock(*cycle(session)[turn % len(CYCLE)])
        turn += 1
        time.sleep(PAUSE)
    return {}


def compare(session, clock, rng, until, number, known):
    """Every answer is that of one generation, whichever."""
    while time.monotonic() < until:
        found = clock("search", answers, session)
        assert any(alike(found, one) for one in known), f"of no one generation: {found}"
    return {}


ROLES = {"read": read, "write": write, "keep": keep, "compare": compare}
CYCLE = ("refit", "maintain", "refit", "maintain")


def cycle(session):
    """Names and calls of the verbs that write a generation each."""
    fields = iter((FIELDS[1], FIELDS[0]))
    return [
        (name, session.energy.maintain)
        if name == "maintain"
        else (name, functools.partial(session.energy.refit, next(fields)))
        for name in CYCLE
    ]


def answers(session):
    """Numbers and distances of some searches."""
    return [[(hit[0], hit[1]) for hit in found] for found in session.search(QUERIES, K)]


# -- jobs


def generations(say, host, place):
    """What each field answers, while nothing else goes on."""
    session = SESSIONS[host](place)
    known = [answers(session)]
    for _ in range(2):
        for _, verb in cycle(session):
            verb()
            known.append(answers(session))
    return {"known": known, "generation": session.energy.info().generation}


def work(say, host, place, role, number, seconds, known):
    """One role in a process of its own."""
    session = SESSIONS[host](place)
    answers(session)
    return _work(session, role, number, seconds, known)


def threads(say, host, place, roles, seconds, known):
    """Several roles in threads that share one session."""
    session = SESSIONS[host](place)
    answers(session)
    done, errors = [], []

    def run(role, number):
        try:
            done.append(_work(session, role, number, seconds, known))
        except BaseException:
            errors.append(traceback.format_exc())

    running = [
        threading.Thread(target=run, args=(role, number)) for number, role in enumerate(roles)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert errors == [], "\n".join(errors)
    return done


def _work(session, role, number, seconds, known):
    clock = Clock()
    until = time.monotonic() + seconds
    rng = np.random.default_rng(number)
    left = ROLES[role](session, clock, rng, until, number, known)
    return {"rows": left, "seconds": clock.seconds}


def settle(say, host, place, rows):
    """After all: no row is lost, none is half there, all are found, and the columns agree."""
    session = SESSIONS[host](place)
    expected = dict.fromkeys(range(BASE), 0)
    expected.update({int(number): stamp for number, stamp in rows.items()})
    found = session.rows()
    missing = [number for number in expected if number not in found]
    assert missing == [], f"{len(missing)} rows are lost"
    assert found == expected
    session.energy.repair()
    assert SESSIONS[host](place).energy.verify() == []
    chosen = np.random.default_rng(0).permutation(list(expected))[:SAMPLE].tolist()
    for start in range(0, len(chosen), 50):
        part = {number: expected[number] for number in chosen[start : start + 50]}
        _present(session, Clock(), part)
    return {"rows": len(expected), "generation": session.energy.info().generation}
