"""Every parser of stored bytes on damaged inputs, in a process with little memory to take.

    python tests/support/fuzzing/parsers.py --inputs 100000 --seed 0

prints, as JSON, how many inputs each parser refused with an error of this project and how many
it answered, the slowest in CPU seconds, and every input that ended in anything else. Input i of a
parser is a function of the seed, the parser's name and i.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from energy_plugin.errors import EnergyPluginError
from support.fuzzing.files import files
from support.fuzzing.stores import Target, stores

SECONDS = 10  # of CPU time, for one input
MORE_MEMORY = 1 << 30  # bytes of address space beyond what the process has taken before


class _TooSlowError(BaseException):
    pass


def _too_slow(*_: Any) -> None:
    raise _TooSlowError


def _limit_memory() -> None:
    """No more address space than the process has now, and `MORE_MEMORY`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MORE_MEMORY, hard))


def fuzz(target: Target, count: int, seed: int) -> dict[str, Any]:
    """Run one parser over `count` inputs."""
    refused = answered = 0
    slowest, faults = 0.0, []
    for number in range(count):
        rng = np.random.default_rng([seed, zlib.crc32(target.name.encode()), number])
        given = target.mutate(rng)
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            target.parse(given)
            answered += 1
        except EnergyPluginError as error:
            refused += 1
            if len(str(error)) < 20:
                faults.append({"input": number, "error": f"says too little: {error!r}"})
        except BaseException as error:  # whatever it is, it is a fault
            where = traceback.extract_tb(error.__traceback__)[-1]
            message = f"{error!r}"[:300]
            faults.append(
                {"input": number, "error": message, "at": f"{where.filename}:{where.lineno}"}
            )
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - started)
    return {
        **{"inputs": count, "refused": refused, "answered": answered},
        **{"slowest_s": round(slowest, 3), "faults": faults},
    }


def main() -> None:
    """Run the parsers and print what they did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all parsers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="parsers whose name holds this")
    asked = parser.parse_args()
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    signal.signal(signal.SIGPROF, _too_slow)
    with tempfile.TemporaryDirectory() as folder:
        chosen = [t for t in [*stores(), *files(Path(folder))] if asked.only in t.name]
        for target in chosen:  # what is loaded lazily takes its memory first
            target.parse(target.whole)
            fuzz(target, 3, seed=2**31)
        _limit_memory()
        share = -(-asked.inputs // len(chosen))
        started = time.process_time()
        found = {target.name: fuzz(target, share, asked.seed) for target in chosen}
    seconds = round(time.process_time() - started, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_bytes": peak, "parsers": found}))


if __name__ == "__main__":
    main()
