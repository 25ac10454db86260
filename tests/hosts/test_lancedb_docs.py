"""The examples of docs/lancedb.md run, in order, in one session."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "lancedb.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.S | re.M)
    session = {"__name__": "docs"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), session)
    assert "layout='columns'" in capsys.readouterr().out
    table = session["table"]
    table.checkout_latest()
    assert table.count_rows("energy_lambda IS NULL") == 0
    assert sorted(table.to_arrow()["title"].to_pylist()) == ["Bread", "Rivers", "Snow", "Speed"]
