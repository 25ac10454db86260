"""The client of REST catalogues is imported without its checks, and checks when it is used."""

import subprocess
import sys

PROGRAM = """
import sys
from energy_plugin.cli import deferring
deferring.install()
import lance_namespace_urllib3_client as client
import pydantic
from pydantic import BaseModel
from lance_namespace_urllib3_client.models.create_table_request import CreateTableRequest as Model
assert not any(isinstance(one, deferring.Deferring) for one in sys.meta_path)
assert not Model.__pydantic_complete__
assert isinstance(pydantic.ConfigDict(strict=True), dict)
assert "defer_build" not in pydantic.ConfigDict(strict=True)
assert Model.from_dict({"id": ["a"]}).id == ["a"]
assert Model.__pydantic_complete__
try:
    Model(id=3)
except pydantic.ValidationError:
    print("refused by the model")
try:
    client.TableApi().count_table_rows(id=3, count_table_rows_request=None)
except pydantic.ValidationError:
    print("refused by the method")
class Other(BaseModel):
    x: int
assert Other.__pydantic_complete__
deferring.install()
assert not any(isinstance(one, deferring.Deferring) for one in sys.meta_path)
"""


def test_checks_are_made_when_they_are_used():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["refused by the model", "refused by the method"]
