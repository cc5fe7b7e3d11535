"""The bridge to `scipy.sparse.linalg`, whose solvers take any operator that multiplies NumPy vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from rfnumeric.backend.arrays import dtype_name


def scipy_linear_operator(operator: Any) -> Any:
    """Wrap an object with shape, dtype, matvec, rmatvec, matmat and rmatmat as a SciPy ``LinearOperator``.

    Parameters
    ----------
    operator : object
        Multiplies NumPy arrays.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
    """
    from scipy.sparse.linalg import LinearOperator

    return LinearOperator(
        operator.shape,
        matvec=operator.matvec,
        rmatvec=operator.rmatvec,
        matmat=operator.matmat,
        rmatmat=operator.rmatmat,
        dtype=np.dtype(dtype_name(operator.dtype)),
    )
