"""The page of guarantees: each statement names tests, and those tests exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SENTENCE_END = re.compile(r"[.!?;]\s")


def statements(text):
    """Paragraphs and list items, without headings."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.removeprefix("- ") for line in lines]


@cache
def functions(path):
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def faults(text):
    """Statements without a test, or with more than one sentence, and tests that do not exist."""
    wrong = []
    for statement in statements(text):
        found = NAMED.findall(statement)
        prose = NAMED.sub("", statement).rstrip(" ,")
        if not found or not statement.endswith("`"):
            wrong.append(f"names no test: {statement}")
        if SENTENCE_END.search(prose):
            wrong.append(f"more than one sentence: {statement}")
        for path, name in found:
            if not name.startswith("test_") or not (ROOT / path).is_file():
                wrong.append(f"no such file or test: {path}::{name}")
            elif name not in functions(path):
                wrong.append(f"no such test: {path}::{name}")
    return wrong


def test_every_statement_names_a_test():
    text = PAGE.read_text("utf-8")
    assert faults(text) == []
    assert len(statements(text)) > 30
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [
        "What is atomic",
        "What is eventually consistent",
        "What is the same",
        "What happens when",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("- Nothing is ever lost", "names no test"),
        ("- Nothing is lost: `tests/test_guarantees.py::test_of_dreams`", "no such test"),
        ("- Nothing is lost: `tests/test_dreams.py::test_it`", "no such file"),
        ("- Lost? Never: `tests/test_guarantees.py::test_every_statement_names_a_test`", "more"),
        ("A paragraph. `tests/test_guarantees.py::test_every_statement_names_a_test` so.", "names"),
    ],
)
def test_a_statement_that_falls_short_is_found(line, fault):
    assert any(one.startswith(fault) for one in faults(line))
