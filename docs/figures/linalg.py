"""Draw the figures of the pages on generalized inverses from the code they describe."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from rfnumeric import linalg
from rfnumeric.backend import quiet

HERE = Path(__file__).parent
ENGINES = {"svd": "o", "cholesky": "s", "qr": "^", "newton-schulz": "v", "auto": "x"}


def from_spectrum(rng: np.random.Generator, m: int, n: int, singular: np.ndarray) -> np.ndarray:
    U, V = (np.linalg.qr(rng.standard_normal((k, len(singular))))[0] for k in (m, n))
    return (U * singular) @ V.T


def papers_starts(spread: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """I − E with E uniform on [−spread, spread], 10×10; condition numbers above 20 rejected (v1 A.3)."""
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    while len(found) < 2 * count:
        M = np.eye(10) - rng.uniform(-spread, spread, (10, 10))
        if np.linalg.cond(M) <= 20:
            found.append(M)
    return np.stack(found[:count]), np.stack(found[count:])


def basin() -> None:
    """Which eigenvalues of UV the coupled rule brings to 1, and those of the papers' starts."""
    x, y = np.meshgrid(np.linspace(-3, 4, 561), np.linspace(-2.5, 2.5, 401))
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    for ax, rate in zip(axes, (0.1, 0.01), strict=True):
        # Scalars are 1×1 pairs: p stands for U = p, V = 1 and its own step on p.
        p = x + 1j * y
        steps = np.full(p.shape, np.nan)
        with quiet():
            for t in range(int(40 / rate)):
                p = p * (1 + rate * (1 - p)) ** 2
                steps = np.where(np.isnan(steps) & (np.abs(p - 1) < 1e-3), t * rate, steps)
        image = ax.pcolormesh(x, y, np.minimum(steps, 8), cmap="viridis", shading="nearest", rasterized=True)
        ax.set_facecolor("black")
        for spread, color in ((1.0, "white"), (0.3, "orange")):
            U, V = papers_starts(spread, 40)
            e = np.linalg.eigvals(U @ V).ravel()
            ax.plot(e.real, e.imag, ".", ms=2, color=color, label=f"eigenvalues of $UV$, E ~ U[−{spread}, {spread}]")
        ax.set(xlim=(-3, 4), ylim=(-2.5, 2.5), xlabel="Re p", title=f"η = {rate}")
    axes[0].set_ylabel("Im p")
    axes[0].legend(loc="lower left", fontsize=7)
    figure.colorbar(image, ax=axes, label="time t = steps · η to |p − 1| < 10⁻³ (black: never)")
    figure.savefig(HERE / "coupled_basin.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def learned_inverses() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return name → (A, the X that a rule ends with), for a wide or tall A of full rank."""
    rng = np.random.default_rng(1)
    W, tall = rng.standard_normal((4, 7)), rng.standard_normal((7, 4))
    moved = W + 0.05 * rng.standard_normal(W.shape)
    found = {
        "pinv": (W, linalg.pinv(W)),
        "Ben-Israel–Cohen, αAᵀ": (W, linalg.ben_israel_cohen(W).value),
        "Ben-Israel–Cohen, yesterday's A⁺": (moved, linalg.ben_israel_cohen(moved, np.linalg.pinv(W)).value),
        "Gram form, warm": (moved, linalg.GramNewton(W).update(moved).value),
    }
    # Each of the pair learns the other; neither ends as the other's pseudoinverse.
    U, V = linalg.coupled_rule(0.7 * np.linalg.pinv(W) + 0.02, W).value
    found["coupled rule, U for V"], found["coupled rule, V for U"] = (V, U), (U, V)
    U = tall.T / np.linalg.norm(tall) ** 2
    for _ in range(4000):
        U, _ = linalg.recirculation_step(U, tall, rng.standard_normal((256, 7)), 0.02)
    found["recirculation, sampled, n > m"] = (tall, U)
    found["autoencoder rule, white noise"] = (W, linalg.autoencoder_fixed_point(W))
    C = rng.standard_normal((7, 7))
    found["autoencoder rule, real activity"] = (W, linalg.autoencoder_fixed_point(W, C @ C.T))
    found["autoencoder rule, decay 0.1"] = (W, linalg.autoencoder_fixed_point(W, decay=0.1))
    return found


def conditions() -> None:
    """Which Penrose conditions each rule keeps."""
    found = learned_inverses()
    table = np.asarray([[float(r) for r in linalg.penrose_residuals(A, X)[:4]] for A, X in found.values()])
    figure, ax = plt.subplots(figsize=(6.5, 3.6))
    image = ax.imshow(np.log10(table + 1e-17), cmap="magma_r", vmin=-16, vmax=0, aspect="auto")
    ax.set_xticks(range(4), ["1: AXA = A", "2: XAX = X", "3: (AX)ᵀ = AX", "4: (XA)ᵀ = XA"], fontsize=8)
    ax.set_yticks(range(len(found)), list(found), fontsize=8)
    for i, values in enumerate(table):
        for j, value in enumerate(values):
            ax.text(
                j, i, f"{value:.0e}", ha="center", va="center", fontsize=7, color="white" if value > 1e-6 else "black"
            )
    figure.colorbar(image, label="log₁₀ relative residual")
    figure.savefig(HERE / "penrose_conditions.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def accuracy() -> None:
    """Test ratio against the condition number, for each engine, where it vouches for the result and where not."""
    rng = np.random.default_rng(2)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for ax, dtype in zip(axes, ("float32", "float64"), strict=True):
        kappas = np.geomspace(1, 0.1 / np.finfo(dtype).eps, 25)
        for method, marker in ENGINES.items():
            points = {True: ([], []), False: ([], [])}
            for kappa in kappas:
                A = from_spectrum(rng, 40, 70, np.geomspace(1, 1 / kappa, 40)).astype(dtype)
                _, info = linalg.pinv(A, method=method, return_info=True)
                ratio = float(info.residuals.test_ratio)
                xs, ys = points[info.status == "converged"]
                xs.append(kappa)
                ys.append(min(ratio, 1e6) if np.isfinite(ratio) else 1e6)
            (line,) = ax.plot(*points[True], marker, ms=5, label=method)
            ax.plot(*points[False], marker, ms=5, mfc="none", color=line.get_color())
        ax.axhline(30, color="gray", lw=0.8, ls="--")
        ax.set(xscale="log", yscale="log", xlabel="κ(A), 40×70", title=dtype)
    axes[0].set_ylabel("Penrose test ratio (hollow: not vouched for)")
    axes[0].legend(fontsize=8)
    figure.savefig(HERE / "pinv_accuracy.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    basin()
    conditions()
    accuracy()
