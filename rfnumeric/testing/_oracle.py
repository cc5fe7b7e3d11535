"""A⁺ in extended precision, for stacks: one-sided Jacobi rotations in NumPy's `longdouble`."""

from __future__ import annotations

import numpy as np

SWEEPS = 40
"""Most sweeps; five to ten are usual."""


def singular_value_decomposition(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return W and V, W = AV with orthogonal columns whose norms are the singular values, in extended precision.

    One-sided Jacobi: pairs of columns of a tall A are rotated until each pair is orthogonal to rounding. The n/2 pairs
    of a round have no column in common and are rotated at once, in every member of the stack.

    Parameters
    ----------
    A : array, shape (k, m, n), m ≥ n

    Returns
    -------
    W : array, shape (k, m, n)
    V : array, shape (k, n, n)
        Unitary.

    References
    ----------
    .. [1] J. Demmel, K. Veselić, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal. Appl. 13 (1992)
       1204-1245, :doi:`10.1137/0613074`.
    """
    wide = np.clongdouble if np.iscomplexobj(A) else np.longdouble
    count, _, n = A.shape
    W = A.astype(wide)
    V = np.broadcast_to(np.eye(n, dtype=wide), (count, n, n)).copy()
    eps = np.finfo(np.longdouble).eps
    for _ in range(SWEEPS):
        largest = 0.0
        for p, q in _rounds(n):
            largest = max(largest, _rotate(W, V, p, q, eps))
        if largest <= 8 * eps:
            break
    return W, V


def _rotate(W: np.ndarray, V: np.ndarray, p: np.ndarray, q: np.ndarray, eps: float) -> float:
    """Rotate columns p and q of W and V; return the largest cosine that was between them."""
    x, y = W[:, :, p], W[:, :, q]
    a, b = (np.sum(z.real**2 + z.imag**2, axis=1) for z in (x, y))
    c = np.sum(x.conj() * y, axis=1)
    size = np.abs(c)
    # Columns that are rounding of the largest have no direction.
    scale = np.sqrt(np.maximum(a, b).max(axis=1, initial=0))[:, None]
    active = (
        (np.sqrt(a) > eps * eps * scale) & (np.sqrt(b) > eps * eps * scale) & (size > eps * np.sqrt(a) * np.sqrt(b))
    )
    if not active.any():
        return 0.0
    cosine = float((size[active] / (np.sqrt(a) * np.sqrt(b))[active]).max())
    safe = np.where(active, size, 1)
    zeta = (b - a) / (2 * safe)
    t = np.where(zeta >= 0, 1, -1) / (np.abs(zeta) + np.sqrt(1 + zeta * zeta))
    t = np.where(active, t, 0)
    cos = 1 / np.sqrt(1 + t * t)
    sin, phase = cos * t, np.where(active, c / safe, 1)
    for M in (W, V):
        x, y = M[:, :, p], M[:, :, q]
        left, right = cos[:, None, :], (sin * phase)[:, None, :]
        M[:, :, p], M[:, :, q] = left * x - right.conj() * y, right * x + left * y
    return cosine


def _rounds(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rounds of a tournament: each pair of columns once, no column twice in a round."""
    players = list(range(n + n % 2))
    rounds = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = [(i, j) for i, j in zip(players[:half], reversed(players[half:]), strict=True) if max(i, j) < n]
        if pairs:
            rounds.append(tuple(np.asarray(side) for side in zip(*pairs, strict=True)))
        players = [players[0], players[-1], *players[1:-1]]
    return rounds  # type: ignore[return-value]


def exact_pinv(A: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Return A⁺ of each member at the relative `cutoff`, in extended precision, and the singular values.

    Single precision is answered in double, by LAPACK.

    Parameters
    ----------
    A : array, shape (k, m, n), finite
    cutoff : float
        Singular values up to this times the largest count as zero.

    Returns
    -------
    X : array, shape (k, n, m)
    S : array, shape (k, min(m, n))
        In falling order.
    """
    if A.shape[1] < A.shape[2]:
        X, S = exact_pinv(np.swapaxes(A, 1, 2), cutoff)
        return np.swapaxes(X, 1, 2), S
    if A.dtype in (np.float32, np.complex64):
        U, S, Vh = np.linalg.svd(
            A.astype(np.complex128 if A.dtype == np.complex64 else np.float64), full_matrices=False
        )
        W, V = U * S[:, None, :], np.swapaxes(Vh.conj(), 1, 2)
    else:
        W, V = singular_value_decomposition(A)
        S = np.sqrt(np.sum(W.real**2 + W.imag**2, axis=1))
    keep = (S > cutoff * S.max(axis=1, initial=0)[:, None]) & (S > 0)
    # In two divisions: the square of a small singular value may underflow.
    inverse = np.where(keep, 1 / np.where(keep, S, 1), 0)
    X = (V * inverse[:, None, :]) @ np.swapaxes((W * inverse[:, None, :]).conj(), 1, 2)
    return X, -np.sort(-S, axis=1)
