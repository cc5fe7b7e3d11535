"""Draw docs/figures/data-flow.png: ``python docs/figures/data_flow.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

BOXES = {
    "batch": (-0.5, 2.2, "batch\nx, y", "#e8eef7"),
    "forward": (2.2, 2.2, "network.forward\n$a_l,\\ h_l,\\ \\sigma'(a_l)$", "#d5e5d5"),
    "loss": (4.9, 2.2, "loss.evaluate\n$e = \\partial\\,\\mathrm{loss}/\\partial h_L$", "#f7e8d5"),
    "deltas": (7.6, 2.2, "rule.deltas\n$\\delta_1, \\dots, \\delta_L$", "#d5e5d5"),
    "update": (10.1, 2.2, "optimizer.update\n$W_l,\\ b_l$", "#d5e5d5"),
    "sleep": (6.0, 0.5, "rule.sleep\nno activity", "#f2d9d9"),
    "learn": (8.6, 0.5, "rule.learn_feedback\nown activity", "#f2d9d9"),
    "record": (10.1, 3.9, "metrics, history,\ncheckpoint", "#e8eef7"),
}
WIDTH, HEIGHT = 1.9, 0.95
ARROWS = [
    ("batch", "forward", ""),
    ("forward", "loss", "trace"),
    ("loss", "deltas", "e"),
    ("deltas", "update", "trace"),
    ("sleep", "deltas", "feedback"),
    ("deltas", "learn", "trace"),
    ("update", "record", ""),
]


def main() -> None:
    """Draw the boxes of a training step and what passes between them."""
    figure, axes = plt.subplots(figsize=(10.5, 4.2))
    axes.set(xlim=(-0.7, 12.2), ylim=(0.2, 5.1))
    axes.axis("off")
    for x, y, text, color in BOXES.values():
        box = FancyBboxPatch((x, y), WIDTH, HEIGHT, boxstyle="round,pad=0.05", facecolor=color, edgecolor="#555555")
        axes.add_patch(box)
        axes.text(x + WIDTH / 2, y + HEIGHT / 2, text, ha="center", va="center", fontsize=8.5)
    for start, end, label in ARROWS:
        (x0, y0, *_), (x1, y1, *_) = BOXES[start], BOXES[end]
        level = abs(y0 - y1) < 0.1
        up = 1 if y1 > y0 else -1
        tail = (x0 + WIDTH + 0.05, y0 + HEIGHT / 2) if level else (x0 + WIDTH / 2, y0 + HEIGHT / 2 + up * HEIGHT / 2)
        head = (x1 - 0.05, y1 + HEIGHT / 2) if level else (x1 + WIDTH / 2, y1 + HEIGHT / 2 - up * HEIGHT / 2)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": "#333333", "shrinkA": 3, "shrinkB": 3})
        middle = ((tail[0] + head[0]) / 2, (tail[1] + head[1]) / 2)
        side = 0.18 if level else 0.0
        aside = 0 if level else -0.25 if head[0] > tail[0] and up > 0 else 0.15
        axes.text(
            middle[0] + aside,
            middle[1] + side,
            label,
            fontsize=8,
            ha="center" if level else "right" if aside < 0 else "left",
        )
    back = {"arrowstyle": "-|>", "color": "#888888", "linestyle": "dashed", "connectionstyle": "arc3,rad=0.32"}
    axes.annotate("", (3.1, 3.2), (10.6, 3.2), arrowprops=back)
    axes.text(6.8, 4.55, "the next step sees the new weights and feedback", fontsize=8, ha="center", color="#555555")
    figure.savefig(Path(__file__).parent / "data-flow.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
