"""A kernel and its reference refuse the same arguments with the same words, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_inputs import SOUND, spoiled

from rfnumeric import kernels
from rfnumeric.backend import get_backend, to_numpy
from rfnumeric.kernels import Kernel
from rfnumeric.nn import MeanSquaredError, SoftmaxCrossEntropy

DEVICE = {"array-api-strict": "device1"}


def _outcome(name: str, arguments: list[Any]) -> str:
    """Return what is said, or that nothing is."""
    try:
        with np.errstate(all="ignore"):
            Kernel.instances[name](*arguments)
    except (TypeError, ValueError, IndexError) as error:
        text = f"{type(error).__name__}: {error}"
        assert "\n" not in text, text
        return text
    return "accepted"


def test_every_kernel_is_here() -> None:
    assert set(SOUND) >= set(kernels.accelerated_kernels("numpy"))
    for name, make in SOUND.items():
        assert _outcome(name, make()) == "accepted"


@pytest.mark.parametrize("name", sorted(SOUND))
def test_reference_says_the_same(name: str) -> None:
    refused = 0
    for (what, arguments), (_, again) in zip(spoiled(name), spoiled(name), strict=True):
        said = _outcome(name, arguments)
        with kernels.use_reference():
            assert _outcome(name, again) == said, what
        refused += said != "accepted"
    assert refused > 3


@pytest.mark.parametrize("name", sorted(SOUND))
def test_other_backends_say_the_same(name: str, xp_name: str) -> None:
    if xp_name == "numpy":
        pytest.skip("compared with its reference above")
    backend = get_backend(xp_name, DEVICE.get(xp_name), "float64")

    def placed(a: Any) -> Any:
        if isinstance(a, str) and a.startswith("float"):
            return getattr(backend.xp, a, None)
        return backend.asarray(a, dtype=a.dtype.name) if isinstance(a, np.ndarray) else a

    for what, arguments in spoiled(name):
        if any(isinstance(a, str) and a == "float16" for a in arguments):
            continue  # no dtype of the standard's
        moved = [placed(a) for a in arguments]
        said = _outcome(name, arguments)
        if said == "accepted":
            continue  # NumPy may broadcast or compute with what another library does not know
        assert _outcome(name, moved) == said, what


@pytest.mark.parametrize("labels", [[0, 9], [-1, 0], [3, 0]])
@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), MeanSquaredError()])
def test_losses_refuse_labels_out_of_range(loss: Any, labels: list[int], xp_name: str) -> None:
    backend = get_backend(xp_name, DEVICE.get(xp_name), "float64")
    h = backend.zeros((2, 3))
    sample = int(np.argmax([not 0 <= label < 3 for label in labels]))
    for dtype in ("int64", "int32"):
        with pytest.raises(ValueError, match=rf"labels must lie in 0…2.*sample {sample} "):
            loss.evaluate(h, backend.asarray(np.asarray(labels), dtype=dtype))
    good = loss.evaluate(h, backend.asarray(np.asarray([2, 0]), dtype="int64"))
    assert np.isfinite(to_numpy(good[1]))


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), MeanSquaredError()])
def test_losses_refuse_shapes(loss: Any, xp_name: str) -> None:
    backend = get_backend(xp_name, DEVICE.get(xp_name), "float64")
    h = backend.zeros((2, 3))
    with pytest.raises(ValueError, match=r"labels must have shape .* batch = 2 to match h \(2, 3\); got \(3,\)"):
        loss.evaluate(h, backend.asarray(np.asarray([0, 1, 2]), dtype="int64"))
