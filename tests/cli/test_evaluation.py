"""Usage, errors and `eval`, run as a person runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from energy_plugin import __version__


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "energy_plugin", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def judged(tmp_path):
    folder = tmp_path / "judged"
    folder.mkdir()
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 16))
    corpus = np.repeat(centres, 12, axis=0) + 0.4 * rng.normal(size=(96, 16))
    queries = centres + 0.4 * rng.normal(size=(8, 16))
    ids = [f"d{i}" for i in range(96)]
    (folder / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": d, "title": "", "text": "" if d == "d5" else d}) for d in ids)
    )
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{i}", "text": f"query {i}"}) for i in range(8))
    )
    lines = [f"q{i}\td{12 * i + j}\t1" for i in range(8) for j in range(12)]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines))
    np.savez(
        tmp_path / "judged.npz",
        corpus=corpus,
        queries=queries,
        corpus_ids=ids,
        query_ids=[f"q{i}" for i in range(8)],
    )
    return folder


def test_version_and_help():
    assert _run("--version").stdout == f"energy-plugin {__version__}\n"
    done = _run("--help")
    assert done.returncode == 0
    for command in ("demo", "eval", "lab"):
        assert command in done.stdout


def test_a_mistyped_command_is_helped():
    done = _run("serch", "db", "words")
    assert done.returncode == 2
    assert "There is no command 'serch'. Did you mean search?" in done.stderr


@pytest.mark.parametrize("arguments", ["--foo", "eval", "nothing", "eval x --k 3"])
def test_wrong_usage_is_two(arguments):
    assert _run(*arguments.split()).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("eval", "{tmp}/none"), "is not a folder", 2),
        (("eval", "{tmp}"), "corpus.jsonl does not exist", 2),
        (("sts", "{tmp}/none.tsv"), "does not exist", 2),
        (("demo", "--folder", "{tmp}/none", "--ask", "x"), "no finished demonstration", 1),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, message, code):
    done = _run(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == code
    assert done.stdout == ""
    assert re.fullmatch(rf"error: .*{message}.*\n", done.stderr)


def test_eval_prints_json_and_tables(judged, tmp_path, call):
    arguments = ("eval", judged, "--encoder", tmp_path / "judged.npz")
    code, out, err = call(*arguments, "--json")
    assert code == 0
    result = json.loads(out)
    assert list(result)[:2] == ["cosine", "energy"]
    assert list(result["cosine"]) == ["ndcg@10", "map", "mrr", "recall@10", "recall@100"]
    assert result["cosine"]["recall@100"] == 1.0
    assert result["energy"]["ndcg@10"] >= 0.9
    assert result["empty_documents"] == 1
    assert "1 documents have no text" in err
    _, plain, _ = call(*arguments)
    assert f"{result['energy']['map']:.3f}" in plain
    assert max(map(len, plain.splitlines())) <= 120


def test_eval_has_a_row_for_each_term_and_for_reranking(judged, tmp_path, call):
    arguments = ("eval", judged, "--vectors", tmp_path / "judged.npz")
    more = ("--ablate", "--rerank", 20, "--json")
    code, out, _ = call(*arguments, *more)
    assert code == 0
    rankings = json.loads(out)["rankings"]
    assert list(rankings) == [
        *("cosine", "energy", "arrowspace", "rerank, field", "rerank, candidates"),
        *("without centring", "without Dirichlet metric", "without row heat"),
        *("without local heat of rows", "without local heat of query", "without term of λ"),
    ]
    for name, ranking in rankings.items():
        assert ranking["query_ms"] > 0
        assert bool(ranking["comparison"]) == (name != "cosine")
    # what lies below cosine's first 20 stays there
    for name in ("rerank, field", "rerank, candidates"):
        assert rankings[name]["mean"]["recall@100"] == rankings["cosine"]["mean"]["recall@100"]
        assert rankings[name]["mean"] != rankings["cosine"]["mean"]
    _, plain, _ = call(*arguments, *more[:-1])
    assert re.search(r"rerank, candidates +\| +0?1?\.\d{3}", plain)
    assert max(map(len, plain.splitlines())) <= 120
    code, _, err = call("eval", judged, "--vectors", tmp_path / "no.npz")
    assert code == 2
    assert "does not exist" in err


def test_eval_of_several_sets_has_a_mean(judged, tmp_path, call):
    twin = tmp_path / "twin"
    judged.rename(twin)
    (tmp_path / "judged.npz").rename(tmp_path / "twin.npz")
    for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv"):
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        (other / name).write_bytes((twin / name).read_bytes())
    (tmp_path / "other.npz").write_bytes((tmp_path / "twin.npz").read_bytes())
    code, out, _ = call("eval", twin, tmp_path / "other", "--encoder", tmp_path, "--json")
    result = json.loads(out)
    assert code == 0
    assert list(result["sets"]) == ["twin", "other"]
    assert list(result["mean"]) == ["cosine", "energy", "arrowspace"]
    for ranking in ("cosine", "energy"):
        assert result["mean"][ranking] == pytest.approx(result["sets"]["twin"][ranking])
    code, _, err = call("eval", twin, twin, "--encoder", tmp_path)
    assert code == 2
    assert "could not be told apart" in err
