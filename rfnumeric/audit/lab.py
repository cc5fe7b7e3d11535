"""The bench of a check: drawn instances of known conditioning, derived tolerances, and the arithmetic of the papers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise

from rfnumeric.backend import Backend, Streams, eps, quiet, to_float, to_numpy
from rfnumeric.calculus import activation_jacobians, activation_reciprocals, finite_difference_jacobian
from rfnumeric.linalg import pinv
from rfnumeric.nn import Network, Trace, get_activation
from rfnumeric.typing import Array

ROUNDING = 30.0
"""c of the tolerance c·eps·dimension·condition: the threshold of LAPACK's own tests."""

VIOLATION = 0.01
"""A relative residual from 1 % on is a violation; between the tolerance and this nothing is decided."""


class Lab:
    """Draws instances for one claim. Each draw is new; the same seed gives the same sequence on every backend.

    Parameters
    ----------
    seed : int
    backend : Backend
    name : str
        The claim's id, so that claims draw independently.
    """

    def __init__(self, seed: int, backend: Backend, name: str = "") -> None:
        self.backend, self.xp, self.seed = backend, backend.xp, seed
        self.streams = Streams(seed, backend).child("audit", name)
        self.eps = eps(backend.dtype)
        self._draws = 0

    def _next(self) -> Streams:
        self._draws += 1
        return self.streams.child("draw", self._draws)

    def normal(self, *shape: int) -> Array:
        """Draw standard normal numbers."""
        return self._next().normal(shape)

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        """Draw numbers uniform on [low, high)."""
        return self._next().uniform(shape, low, high)

    def eye(self, n: int) -> Array:
        """Return the identity."""
        return self.xp.eye(n, dtype=self.backend.dtype, device=self.backend.device)

    def array(self, values: object) -> Array:
        """Place numbers on the backend."""
        return self.backend.asarray(values)

    def orthonormal(self, rows: int, columns: int) -> Array:
        """Draw a matrix of orthonormal columns, rows ≥ columns."""
        return self.xp.linalg.qr(self.normal(rows, columns), mode="reduced")[0]

    def matrix(self, rows: int, columns: int, low: float = 0.5, high: float = 2.0) -> Array:
        """Draw a matrix of full rank with singular values in [low, high], both ends included: κ is known."""
        k = min(rows, columns)
        s = low + (high - low) * self.uniform(0.0, 1.0, k)
        ends = self.array([low, high][:k] if k > 1 else [high])
        s = self.xp.concat((ends, s[2:])) if k > 1 else ends
        return self.mm(self.orthonormal(rows, k) * s[None, :], self.t(self.orthonormal(columns, k)))

    def network(
        self,
        sizes: tuple[int, ...],
        hidden: str = "leaky-relu",
        output: str = "leaky-relu",
        slope: float = 0.5,
        spectrum: tuple[float, float] = (0.7, 1.4),
    ) -> Network:
        """Draw a network without biases whose weights' singular values lie in `spectrum`."""
        W = [None, *(self.matrix(m, n, *spectrum) for n, m in pairwise(sizes))]
        none: list[Array | None] = [None] * len(W)
        return Network(W, none, get_activation(hidden, slope), get_activation(output, slope))

    def sample(self, sizes: tuple[int, ...], **options: object) -> Sample:
        """Draw a network and one input."""
        return Sample(self, self.network(sizes, **options), self.normal(1, sizes[0]))  # type: ignore[arg-type]

    def mm(self, *factors: Array) -> Array:
        """Multiply matrices from left to right."""
        product = factors[0]
        for factor in factors[1:]:
            product = self.xp.matmul(product, factor)
        return product

    def t(self, A: Array) -> Array:
        """Transpose."""
        return self.xp.matrix_transpose(A)

    def kron(self, A: Array, B: Array) -> Array:
        """Return A ⊗ B, formed."""
        blocks = A[:, None, :, None] * B[None, :, None, :]
        return self.xp.reshape(blocks, (A.shape[0] * B.shape[0], A.shape[1] * B.shape[1]))

    def vec(self, A: Array) -> Array:
        """Stack the columns of A into one column."""
        return self.xp.reshape(self.t(A), (-1, 1))

    def pinv(self, A: Array) -> Array:
        """Return A⁺ by the SVD."""
        return pinv(A, method="svd")

    def norm(self, A: Array) -> float:
        """Return the Frobenius norm of one matrix."""
        with quiet():
            return to_float(self.xp.sqrt(self.xp.sum(A * A)))

    def norm2(self, A: Array) -> float:
        """Return the spectral norm."""
        return to_float(self.xp.linalg.svdvals(A)[0])

    def distance(self, A: Array, B: Array) -> float:
        """Return ‖A − B‖/‖B‖; inf if the shapes differ."""
        if tuple(A.shape) != tuple(B.shape):
            return float("inf")
        return self.norm(A - B) / self.norm(B)

    def distances(self, A: Array, B: Array) -> list[float]:
        """Return ‖A − B‖/‖B‖ of each member of one leading axis; a member that overflowed gives NaN or inf."""
        xp = self.xp
        with quiet():
            gap, size = (xp.sqrt(xp.sum(X * X, axis=(-2, -1), dtype=X.dtype)) for X in (A - B, B))
            return [float(v) for v in to_numpy(gap / size)]

    def tolerance(self, dimension: float, condition: float = 1.0) -> float:
        """Return 30·eps·dimension·condition, relative."""
        return ROUNDING * self.eps * dimension * condition

    @property
    def difference_tolerance(self) -> float:
        """Relative error of central differences of step eps^(1/3) on smooth networks: 100·eps^(2/3)."""
        return 100 * self.eps ** (2 / 3)

    @staticmethod
    def judge(residual: float, tolerance: float) -> bool | None:
        """Say whether a relative residual is zero (True), a violation (False), or neither (None)."""
        if tolerance >= VIOLATION:
            return None
        if residual <= tolerance:
            return True
        return False if residual >= VIOLATION or residual != residual else None

    @staticmethod
    def fits(expression: Callable[[], Array], shape: tuple[int, ...]) -> bool:
        """Say whether an expression's dimensions match, and match `shape`."""
        try:
            return tuple(expression().shape) == shape
        except (ValueError, RuntimeError, TypeError):
            return False


class Sample:
    """A network and one input, in the papers' notation: columns for vectors, matrices for diagonals.

    Parameters
    ----------
    lab : Lab
    network : Network
    x : array, shape (1, n_0)
    """

    def __init__(self, lab: Lab, network: Network, x: Array) -> None:
        self.lab, self.network, self.x = lab, network, x
        self.trace: Trace = network.forward(x)
        self.L, self.n = network.L, network.sizes

    @cached_property
    def _J(self) -> list[Array]:
        return activation_jacobians(self.network, self.trace)

    @cached_property
    def _B(self) -> list[Array]:
        return activation_reciprocals(self.network, self.trace)

    def W(self, l: int) -> Array:
        """Return W_l."""
        return self.network.W[l]

    def h(self, l: int) -> Array:
        """Return h_l as a column."""
        return self.lab.t(self.trace.h[l])

    def a(self, l: int) -> Array:
        """Return a_l as a column; a_0, which the papers do not define, stands for x."""
        return self.lab.t(self.trace.a[l] if l else self.trace.h[0])

    def D(self, l: int) -> Array:
        """Return D_l as a matrix."""
        return self.lab.eye(self.n[l]) * self.trace.d_sigma[l]

    def J(self, l: int) -> Array:
        """Return J_{h_l}."""
        return self._J[l][0, ...]

    def B(self, l: int) -> Array:
        """Return B_l."""
        return self._B[l][0, ...]

    def J_difference(self, l: int, wrt: str) -> Array:
        """Return a Jacobian by central differences."""
        return finite_difference_jacobian(self.network, self.x, l, wrt)[0, ...]

    def with_W(self, l: int, W: Array) -> Sample:
        """Return the sample with another W_l."""
        changed = [*self.network.W[:l], W, *self.network.W[l + 1 :]]
        return Sample(self.lab, self.network.with_parameters(changed, self.network.b), self.x)


def g(value: float) -> str:
    """Return a number in the form in which evidence gives it."""
    return f"{value:.2g}"
