"""Tensors name what they are and where they are: the caller's defaults must not reach in."""

import ast
from pathlib import Path

import pytest

import energy_plugin

_HOME = Path(energy_plugin.__file__).parent
_MAKERS = {
    "arange", "as_tensor", "asarray", "empty", "empty_strided", "eye", "full", "linspace",
    "logspace", "ones", "rand", "randint", "randn", "randperm", "range", "scalar_tensor",
    "tensor", "tril_indices", "triu_indices", "zeros",
}  # fmt: skip


def _named(call: ast.Call) -> str:
    function = call.func
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
        return ""
    return f"{function.value.id}.{function.attr}"


def _unnamed(source: str) -> list[int]:
    """Lines where a tensor is made without dtype or device.

    A parameter of a module gets both from what is loaded into it, and the surrounding
    ``with torch.device`` of whoever makes the module.
    """
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    parameters = {
        inside
        for call in calls
        if _named(call) == "nn.Parameter"
        for inside in ast.walk(call)
        if inside is not call
    }
    found = []
    for call in calls:
        module, _, name = _named(call).partition(".")
        if module != "torch" or call in parameters:
            continue
        given = {keyword.arg for keyword in call.keywords}
        if name in _MAKERS and not {"dtype", "device"} <= given:
            found.append(call.lineno)
        if name == "Generator" and not (call.args or given):
            found.append(call.lineno)
    return found


def test_the_check_finds_what_it_is_for():
    source = """
a = torch.zeros(3, dtype=torch.float32)
b = torch.arange(4, device=x.device)
c = torch.zeros(3, dtype=torch.float32, device="cpu")
d = nn.Parameter(torch.zeros(3))
e = torch.randn(3, generator=torch.Generator(), dtype=torch.float32, device="cpu")
f = torch.zeros_like(c)
"""
    assert _unnamed(source) == [2, 3, 6]


@pytest.mark.parametrize("room", ["energy", "optical"])
def test_every_tensor_names_its_dtype_and_device(room):
    files = sorted((_HOME / room).rglob("*.py"))
    files = [path for path in files if "training" not in path.parts]  # a process of its own
    assert len(files) > 20
    found = [
        f"{path.relative_to(_HOME)}:{line}"
        for path in files
        for line in _unnamed(path.read_text("utf-8"))
    ]
    assert not found
