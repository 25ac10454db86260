"""Nothing is unpickled, evaluated, run or fetched unasked: read from every source, and watched."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import energy_plugin

ROOT = Path(energy_plugin.__file__).parents[1]
SOURCES = sorted(
    path for part in ("energy_plugin", "adapters") for path in (ROOT / part).rglob("*.py")
)

# Modules that run what they read.
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
# YAML's safe loader makes plain values alone; front matter is read with it.
SAFE_YAML = {"energy_plugin/library/files/prose.py"}
# Modules that start processes, and who may: `bench` and `gpu` measure in processes of their own,
# `busy` keeps cores at work for that, a peer of the page reader is a program, training of the
# recogniser runs in several processes.
PROCESSES = {"subprocess", "multiprocessing", "pty"}
MAY_START = {
    "adapters/energy_chroma/costs.py",
    "energy_plugin/evaluation/bench/build.py",
    "energy_plugin/evaluation/busy.py",
    "energy_plugin/evaluation/gpu/run.py",
    "energy_plugin/evaluation/pages.py",
    "energy_plugin/optical/training/printed/shards.py",
    "energy_plugin/optical/training/printed/trainers.py",
}
# Modules that reach a network, and who may: published weights, by a name that is given, and the
# server of the Model Context Protocol, which looks at the address that it is told to listen on.
NETWORK = {"socket", "ssl", "urllib", "http", "ftplib", "requests", "httpx", "aiohttp", "smtplib"}
NETWORK |= {"huggingface_hub", "datasets", "xmlrpc", "telnetlib", "websockets", "boto3", "fsspec"}
MAY_FETCH = {"energy_plugin/mcp/serving.py", "energy_plugin/optical/weights/hub.py"}
HARMLESS = {"urllib.parse", "urllib.request.url2pathname"}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
ATTRIBUTES = {
    *{("os", "system"), ("os", "popen"), ("os", "execv"), ("os", "spawnl"), ("os", "startfile")},
    *{("torch", "load"), ("torch", "hub"), ("np", "fromregex"), ("np", "lib.npyio")},
    *{("yaml", "load"), ("yaml", "load_all"), ("yaml", "unsafe_load"), ("yaml", "full_load")},
    *{("builtins", "eval"), ("builtins", "exec"), ("importlib.util", "exec_module")},
}
MUST_BE = {"allow_pickle": False, "trust_remote_code": False, "shell": False, "weights_only": True}


def _modules(node):
    """Modules that a node imports, also by the names that lazy imports are given."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in ("optional", "import_module") and node.args:
            first = node.args[0]
            return [first.value] if isinstance(first, ast.Constant) else []
    return []


def findings(source, name):
    """What a source does that it must not, as ``line: what``."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        for module in _modules(node):
            head = module.partition(".")[0]
            if head in PICKLES and not (head == "yaml" and name in SAFE_YAML):
                yield f"{line}: {module}"
            if head in PROCESSES and name not in MAY_START:
                yield f"{line}: {module}"
            harmless = any(f"{module}.".startswith(f"{one}.") for one in HARMLESS)
            if head in NETWORK and name not in MAY_FETCH and not harmless:
                yield f"{line}: {module}"
        if isinstance(node, ast.Attribute):
            holder = node.value.id if isinstance(node.value, ast.Name) else ""
            if (holder, node.attr) in ATTRIBUTES:
                yield f"{line}: {holder}.{node.attr}"
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield f"{line}: {node.func.id}()"
        keywords = {one.arg: one.value for one in node.keywords}
        for argument, value in keywords.items():
            if argument in MUST_BE:
                given = value.value if isinstance(value, ast.Constant) else "an expression"
                if given is not MUST_BE[argument]:
                    yield f"{line}: {argument}={given}"
        called = ast.unparse(node.func)
        if called in ("np.load", "numpy.load") and "allow_pickle" not in keywords:
            yield f"{line}: np.load without allow_pickle=False"


def test_no_source_runs_what_it_reads():
    names = {str(path.relative_to(ROOT)): path for path in SOURCES}
    found = {name: list(findings(path.read_text("utf-8"), name)) for name, path in names.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert len(found) > 150
    assert set(found) >= MAY_FETCH | MAY_START | SAFE_YAML


def test_the_scan_sees_what_it_looks_for():
    seen = list(
        findings(
            "import pickle, socket\nfrom urllib import request\nfrom urllib.parse import quote\n"
            "eval('1')\nnp.load(p)\nnp.load(p, allow_pickle=True)\ntorch.load(p)\n"
            "optional('requests')\nimport subprocess\nos.system('x')\nf(trust_remote_code=flag)\n",
            "energy_plugin/x.py",
        )
    )
    lines = sorted(int(one.partition(":")[0]) for one in seen)
    assert lines == [1, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]


# A process that embeds, builds, searches, stores and opens again in both hosts.
_WATCHED = """
import json, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "pickle.find_class",
                 "marshal.load", "os.system", "subprocess.Popen", "urllib.Request"):
        frame = sys._getframe(1)
        while frame is not None and not any(
            part in frame.f_code.co_filename for part in ("energy_plugin/", "adapters/energy_")
        ):
            frame = frame.f_back
        where = None if frame is None else frame.f_code.co_filename
        seen.append((event, repr(arguments)[:100], where))
import chromadb, lancedb, numpy as np
import energy_chroma, energy_lancedb
from energy_plugin import OpticalEncoder
sys.addaudithook(watch)
encoder = OpticalEncoder.from_pretrained("compact")
texts = [f"text {i} of {word}" for i in range(12) for word in ("air", "blood", "files")]
vectors = encoder.encode_document(texts)
folder = sys.argv[1]
for attempt in range(2):
    client = chromadb.PersistentClient(folder + "/chroma")
    made = client.get_or_create_collection(
        "docs", embedding_function=energy_chroma.OpticalEmbeddingFunction()
    )
    if not attempt:
        made.add(ids=texts, documents=texts)
        energy_chroma.EnergyCollection(made).build()
    energy_chroma.EnergyCollection(made).query(query_texts=["blood"], n_results=3)
    database = lancedb.connect(folder + "/lance")
    if not attempt:
        rows = [{"id": t, "vector": v} for t, v in zip(texts, vectors, strict=True)]
        energy_lancedb.EnergyTable(database.create_table("pages", rows)).build()
    energy_lancedb.EnergyTable(database.open_table("pages")).search(vectors[3]).to_list()
print(json.dumps(seen))
"""


def test_nothing_is_fetched_or_unpickled_while_the_plugin_works(tmp_path):
    """By the interpreter's audit events. What a host does of its own accord is the host's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _WATCHED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "ANONYMIZED_TELEMETRY": "False",
        },
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert [one for one in seen if one[2] is not None and one[0] != "pickle.find_class"] == []
    assert [one for one in seen if one[0] == "pickle.find_class"] == []
