"""The soak: its oracle against mpmath, what it sees when an engine lies, and that a case repeats."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from rfnumeric.linalg import pinv
from rfnumeric.testing import soak
from rfnumeric.testing._families import FAMILIES
from rfnumeric.testing._oracle import exact_pinv


@pytest.mark.parametrize("name", ["gaussian", "geometric", "graded", "laplacian", "hilbert", "one_large_entry"])
@pytest.mark.parametrize("phase", [1.0, 1j])
def test_the_oracle_against_mpmath(name: str, phase: complex) -> None:
    A = FAMILIES[name](np.random.default_rng(0), 2, 4, 5)
    A = A * phase if phase != 1 else A
    cutoff = 5 * 2.0**-52
    X, S = exact_pinv(A, cutoff)
    assert X.dtype == (np.longdouble if phase == 1 else np.clongdouble)
    with mpmath.workdps(60):
        U, sigma, V = mpmath.svd_c(mpmath.matrix(A[0].tolist()))
        kept = [k for k in range(len(sigma)) if sigma[k] > cutoff * sigma[0]]
        exact = mpmath.matrix(5, 4)
        for k in kept:
            exact += V[k, :].H * U[:, k].H / sigma[k]
        wanted = np.asarray([[complex(exact[i, j]) for j in range(4)] for i in range(5)])
        values = [float(abs(mpmath.mpf(np.format_float_scientific(S[0, k])) / sigma[k] - 1)) for k in kept]
    kappa = float(S[0, 0] / S[0, len(kept) - 1])
    eps = float(np.finfo(np.longdouble).eps)
    # Jacobi's method is right to rounding times the condition number; mpmath's result was rounded to double.
    assert max(values) <= 100 * eps * kappa
    size = np.abs(wanted).max()
    assert np.abs(X[0] - wanted).max() <= (100 * eps * kappa + 4 * 2.0**-53) * size


@pytest.mark.parametrize("index", range(4))
def test_a_case_is_clean_and_repeats(index: int) -> None:
    run = soak.Soak(3)
    run.run(index)
    assert run.faults == 0, run.findings
    again = soak.Soak(3)
    again.run(index)
    assert again.counts == run.counts
    assert run.counts["pinv auto"]["results"] == soak.MEMBERS


def test_a_lie_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def lying(A: np.ndarray, **options: object) -> object:
        found = pinv(A, **options)  # type: ignore[call-overload]
        if isinstance(found, tuple) and A.ndim == 3:
            X = found[0].copy()
            X[5] *= 1.5
            return X, found[1]
        return found

    monkeypatch.setattr(soak.linalg, "pinv", lying)
    assert soak.main(["--case", "3:0"]) == 1
    assert "wrong: pinv auto, gaussian" in capsys.readouterr().err


def test_the_command_says_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        soak.main([])
    assert "--minutes N or --count N" in capsys.readouterr().err
