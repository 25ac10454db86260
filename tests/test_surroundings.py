"""What the caller switched on for torch, numpy and warnings does not change a result.

Caches are emptied first, so that whatever is kept is made under the caller's settings; a second
answer after they are gone shows that nothing of them was kept.
"""

import gc
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex, EnergyReranker
from energy_plugin.optical import OpticalEncoder
from energy_plugin.optical.typesetting.tiles import Typesetter

_TEXTS = [
    "Nobody resets what somebody else has set.",
    "half",
    "Fünf Wörter, 三 words and ∑ sums " * 12,
]


@contextmanager
def _default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def _deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def _warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_SURROUNDINGS = {
    "float16": lambda: _default_dtype(torch.float16),
    "bfloat16": lambda: _default_dtype(torch.bfloat16),
    "float64": lambda: _default_dtype(torch.float64),
    "meta": lambda: _default_device("meta"),
    "with meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference": torch.inference_mode,
    "gradients": torch.enable_grad,
    "deterministic": _deterministic,
    "numpy raises": lambda: np.errstate(all="raise"),
    "warnings": _warnings_as_errors,
    "one thread": lambda: _threads(1),
    "three threads": lambda: _threads(3),
}

# Near another that `make test` runs.
_LIKE = {
    "float16",
    "bfloat16",
    "three threads",
    "with meta",
    "inference",
    "gradients",
    "one thread",
    "deterministic",
}


def _forget():
    """Empty every cache of functions of the package."""
    for name, module in list(sys.modules.items()):
        if name.startswith("energy_plugin"):
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()
    gc.collect()


def _rows():
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((12, 160), dtype=np.float32)
    rows = centres[rng.integers(0, 12, 700)] + 0.4 * rng.standard_normal((700, 160))
    rows[3] = 0
    return rows.astype(np.float32)


def _printed():
    page = Image.new("L", (900, 160), 255)
    font = ImageFont.load_default(40)
    ImageDraw.Draw(page).text((30, 40), "Printed words are read", fill=0, font=font)
    return page


def _ranked(answers, name, result):
    answers[f"{name} ids"], answers[name] = result.ids, result.distances


def _asked(index, encoder):
    """What is asked of an index and an encoder that are there."""
    rows, answers = _rows(), {}
    for probe in (None, 3, "all"):
        _ranked(answers, f"search {probe}", index.search(rows[:20], 8, n_probe=probe))
    _ranked(answers, "some rows", index.search(rows[9], 5, rows=np.arange(0, 300, 3)))
    answers["texts"] = encoder.encode(_TEXTS)
    answers["tokens"] = encoder.encode(_TEXTS[0], output="tokens")[0]
    answers["tensor"] = encoder.encode(_TEXTS[:2], convert_to_tensor=True).numpy()
    answers["images"] = encoder.encode_images([Typesetter().pages(_TEXTS[0])[0].pixels])
    answers["print"] = encoder.encode_images([_printed()])
    answers["lambda"], answers["G"] = index.field.taumode(rows[:50])
    for name, reranker in (("alone", EnergyReranker()), ("field", EnergyReranker(index.field))):
        found = reranker.rerank(rows[1], rows[:60])
        answers[f"{name} order"], answers[name] = found.order, found.distances
    columns = index.columns_of(np.arange(40))
    found = EnergyReranker(index.field).rerank(rows[1], None, columns=columns)
    answers["columns order"], answers["columns"] = found.order, found.distances
    return answers


def _everything():
    """Make an index and an encoder, change the index, and ask both."""
    rows = _rows()
    # more rows than are searched one by one, so that sketches choose
    index = EnergyIndex.fit(rows[:600], EnergyConfig(exhaustive_rows=100), device="cpu")
    index.add(rows[600:])
    index.remove([11, 12])
    index.lower(np.arange(20, 40), 1)
    index.maintain(rows[np.setdiff1d(np.arange(700), [11, 12])])
    field = EnergyField.from_bytes(index.field.to_bytes())
    index = EnergyIndex.from_columns(field, index.columns, device="cpu")
    encoder = OpticalEncoder.from_pretrained(device="cpu")
    answers = _asked(index, encoder)
    again = index.refit(rows[:698], memory_limit="60 MB")
    answers["refit"] = again.search(rows[:20], 8).distances
    answers["drift"] = np.array([again.drift().distortion, again.drift().lambda_shift])
    return answers, index, encoder


def _compare(got, wanted, where):
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        assert got[name].dtype == values.dtype, f"{where}: {name}"
        assert np.allclose(got[name], values, atol=2e-5, rtol=1e-5), f"{where}: {name}"


@pytest.fixture(scope="module")
def neutral():
    return _everything()[0]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in _LIKE)) for name in _SURROUNDINGS],
)
def test_results_are_those_of_a_caller_who_set_nothing(name, neutral):
    assert all(np.isfinite(values).all() for values in neutral.values())
    _forget()
    with _SURROUNDINGS[name]():
        got, index, encoder = _everything()
    _compare(got, neutral, name)
    index.add(_rows()[:1])  # what was kept can be written to
    index.remove([index.rows[-1]])
    later = _asked(index, encoder)
    _compare(later, {key: neutral[key] for key in later}, f"after {name}")


@pytest.mark.parametrize("name", ["float16", "meta", "autocast", "inference", "numpy raises"])
def test_surroundings_are_as_before_a_call(name):
    rows = _rows()
    with _SURROUNDINGS[name]():
        before = _state()
        EnergyIndex.fit(rows[:200], device="cpu").search(rows[0])
        with pytest.raises(ValueError, match="queries must be finite"):
            EnergyIndex.fit(rows[:200], device="cpu").search(rows[0] * np.nan)
        assert _state() == before


def _state():
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_num_threads(),
        np.geterr(),
    )
