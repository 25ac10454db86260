"""Kill a verb at random moments, and look at what is left."""

import os
import shutil
import time
from dataclasses import dataclass, field

import numpy as np

from support.crashes.state import EXACT, HISTORY, State, alike
from support.nursery import Nursery

ATTEMPTS = 12  # at a moment that the process did not live to see


@dataclass
class Tally:
    """Of one host and verb: how many kills it survived, and what they left."""

    host: str
    verb: str
    kills: int = 0
    survived: int = 0
    former: int = 0  # the store was as before the verb
    later: int = 0  # as after it
    mixed: int = 0  # some rows as before, some as after
    mended: dict = field(default_factory=dict)  # kind of finding → kills after which it was named

    def line(self):
        mended = ", ".join(f"{count} {kind}" for kind, count in sorted(self.mended.items()))
        return (
            f"{self.host:<20} {self.verb:<13} {self.survived:>2} of {self.kills:>2} kills survived:"
            f" {self.former:>2} before, {self.later:>2} after, {self.mixed:>2} between"
            f"{'; named and mended: ' + mended if mended else ''}"
        )


class Matrix:
    """The verbs of one host's store.

    Parameters
    ----------
    nursery : Nursery
    store : str
        Module with ``prepare``, ``act``, ``look``, ``mend`` and ``between``.
    options : list of str
        Further arguments of its jobs.
    folder : Path
    """

    def __init__(self, nursery: Nursery, store, options, folder, host):
        self._nursery, self._store, self._options = nursery, store, options
        self._folder, self._host = folder, host
        self._templates = {}

    def _job(self, name):
        return f"{self._store}:{name}"

    def _template(self, verb):
        """A folder with the store before the verb."""
        kind = verb if verb == "first build" else "built"
        if kind not in self._templates:
            made = str(self._folder / f"template {kind}")
            self._nursery.run(self._job("prepare"), made, verb, *self._options)
            self._templates[kind] = made
        return self._templates[kind]

    def _copy(self, verb, name):
        copy = str(self._folder / name)
        shutil.copytree(self._template(verb), copy)
        return copy

    def _begin(self, folder, verb):
        child = self._nursery.start(self._job("act"), folder, verb, *self._options)
        assert child.next() == "begin"
        return child

    def measure(self, verb):
        """States before and after the verb, its seconds, and those until it first writes."""
        folder = self._copy(verb, f"{verb} whole")
        before = State(**self._nursery.run(self._job("look"), folder))
        child = self._begin(folder, verb)
        started, seen, first = time.monotonic(), _files(folder), None
        while not child.waiting():
            if first is None and _files(folder) != seen:
                first = time.monotonic() - started
            time.sleep(0.002)
        assert child.result() == "end"
        seconds = time.monotonic() - started
        after = State(**self._nursery.run(self._job("look"), folder))
        shutil.rmtree(folder)
        return before, after, seconds, first or 0.0

    def run(self, verb, kills, seed=0):
        """Kill the verb at random moments, half of them after it began to write.

        Each moment is drawn from a stratum of its own, so that they spread over the duration.
        """
        tally = Tally(self._host, verb)
        before, after, seconds, first = self.measure(verb)
        rng = np.random.default_rng([seed, sum(verb.encode())])
        half = kills // 2
        spans = [
            *_strata(0.0, seconds, half + kills % 2),
            *_strata(first, seconds, half),
        ]
        for number, (low, high) in enumerate(spans):
            folder = self._killed(verb, f"{verb} {number}", rng, low, high)
            tally.kills += 1
            self._examine(folder, verb, before, after, tally)
            tally.survived += 1
            shutil.rmtree(folder)
        return tally

    def _killed(self, verb, name, rng, low, high):
        """A store on which the verb was killed between two moments after its beginning."""
        for attempt in range(ATTEMPTS):
            folder = self._copy(verb, f"{name}.{attempt}")
            child = self._begin(folder, verb)
            time.sleep(rng.uniform(low, high))
            child.kill()
            said = child.next()
            if said is None:
                return folder
            # it was faster than when it was measured
            low, high = 0.7 * low, 0.7 * high
            shutil.rmtree(folder)
        raise AssertionError(f"{verb} ended {ATTEMPTS} times before it was killed")

    def _examine(self, folder, verb, before, after, tally):
        child = self._nursery.start(self._job("mend"), folder, verb, *self._options)
        left = State(**child.next())
        expected = self._expected(folder, verb, left, before, after, tally)
        tolerance = HISTORY if before.rows != after.rows else EXACT
        right = [one for one in expected if alike(left.answers, one.answers, tolerance)]
        assert right, f"{verb}: answers of no one generation: {left.answers}"
        assert left.generation in [one.generation for one in right]
        writes = before.rows != after.rows  # forget may leave rows that their vector misses
        assert left.astray == [] or not writes, f"{verb}: not found by their own vectors"
        found = child.next()
        for kind in sorted(set(found)):
            tally.mended[kind] = tally.mended.get(kind, 0) + 1
        remaining = child.next()
        assert remaining == [], f"{verb}: repair() left {remaining} of {found}"
        mended = State(**child.next())
        assert mended.rows == left.rows
        same = [one for one in right if alike(mended.answers, one.answers, tolerance)]
        assert same, f"{verb}: repair() changed the answers"
        again = State(**child.result())
        assert again.rows == after.rows
        assert again.astray == [] or not writes
        if verb not in ("maintain", "forget"):  # which go on from what they find
            same = alike(again.answers, after.answers, tolerance)
            assert same, f"{verb}: another end when called again"

    def _expected(self, folder, verb, left, before, after, tally):
        """The states that would be right with the rows that are left."""
        if before.rows == after.rows:
            assert left.rows == before.rows, f"{verb} changed rows"
            same = left.generation == before.generation
            tally.former += same
            tally.later += not same
            return [before, after]
        if left.rows == before.rows:
            tally.former += 1
            return [before]
        if left.rows == after.rows:
            tally.later += 1
            return [after]
        for name, row in left.rows.items():
            assert row in (before.rows.get(name), after.rows.get(name)), f"{name} is half written"
        lost = [n for n in before.rows if n in after.rows and n not in left.rows]
        assert lost == [], f"{verb} lost rows"
        tally.mixed += 1
        template = self._template(verb)
        job = (self._job("between"), folder, template, before.rows, after.rows)
        return [State(**self._nursery.run(*job))]


def _strata(low, high, count):
    edges = np.linspace(low, high, count + 1)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _files(folder):
    """What stands in a folder, by size and time."""
    found = set()
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            found.add((path, status.st_size, status.st_mtime_ns))
    return found
