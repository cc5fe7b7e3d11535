"""What the papers print outside of equations: sizes, tables, settings, headings and captions, for audit and tables."""

from __future__ import annotations

SIZES = {"MNIST": (784, 400, 200, 100, 50, 10), "CIFAR-10": (3072, 1000, 500, 100, 10)}
"""Widths as listed (v1 §5.1, §5.2; v2 §5.1)."""

HIDDEN_LAYERS = {"MNIST": 5, "CIFAR-10": 4}
"""Hidden layers as stated beside them."""

ACCURACY = {
    "v1": {
        "backprop": {"MNIST": 92.35, "CIFAR-10": 40.23},
        "reciprocal": {"MNIST": 91.78, "CIFAR-10": 39.72},
        "feedback alignment": {"MNIST": 91.92, "CIFAR-10": 40.29},
    },
    "v2": {
        "backprop": {"MNIST": 92.99, "CIFAR-10": 40.76},
        "parallel": {"MNIST": 92.65, "CIFAR-10": 41.46},
        "two-phase": {"MNIST": 92.81, "CIFAR-10": 41.34},
        "feedback alignment": {"MNIST": 92.67, "CIFAR-10": 40.29},
    },
}
"""Table 1 of each version: final accuracy, percent."""

EPOCHS = {
    "v1": {
        "backprop": {"MNIST": 2, "CIFAR-10": 1},
        "reciprocal": {"MNIST": 7, "CIFAR-10": 4},
        "feedback alignment": {"MNIST": 11, "CIFAR-10": 6},
    },
    "v2": {
        "backprop": {"MNIST": 42, "CIFAR-10": 16},
        "parallel": {"MNIST": 79, "CIFAR-10": 44},
        "two-phase": {"MNIST": 64, "CIFAR-10": 42},
        "feedback alignment": {"MNIST": 71, "CIFAR-10": 80},
    },
}
"""Table 1 of each version: epochs to 90 % of the asymptotic error (v2: 90 % percentile)."""

SEARCH = {"forward": (1e-4, 1e-2), "feedback": (1e-6, 1e-3)}
"""v2 Table 2: search domains of the learning rates."""

FORWARD = {
    "MNIST": {
        "backprop": 0.0020118,
        "feedback alignment": 0.00084333,
        "parallel": 0.0016435,
        "two-phase": 0.004915,
    },
    "CIFAR-10": {
        "backprop": 0.000666,
        "feedback alignment": 0.00030816,
        "parallel": 0.00056066,
        "two-phase": 0.000447,
    },
}
"""v2 Tables 3 and 4: learning rates found, by the rows of Table 1."""

FEEDBACK = {"MNIST": 0.000075683, "CIFAR-10": 0.00048527}
"""v2 Tables 3 and 4: learning rate of the parallel rule's feedback."""

OPTIMAL = {d: {"forward": tuple(FORWARD[d].values()), "feedback": (FEEDBACK[d],)} for d in FORWARD}
"""All of them."""

SETTINGS = {
    "v1": {
        "MNIST": {"lr": 1e-3, "batch_size": 40, "epochs": 40},
        "CIFAR-10": {"lr": 1e-3, "batch_size": 40, "epochs": 20},
    },
    "v2": {"MNIST": {"batch_size": 32, "epochs": 100}, "CIFAR-10": {"batch_size": 32, "epochs": 100}},
}
"""What the runs of Table 1 share (v1 §5; v2 §5, Table 2: its batch size as far as the text can be read)."""

CAPTIONS = {
    "v1": {
        1: "matrices U and V align to become the pseudoinverse",
        2: "three phases of network operation",
        3: "learning rule compared",
    },
    "v2": {
        1: "Comparison between the architecture",
        2: "matrices U and V align to become the pseudoinverse",
        3: "three phases of network operation",
        4: "training loss and accuracy",
    },
}
"""Key words of each figure's caption."""

APPENDIX = {
    "v1": {
        "A.1": "Proof of Theorem 1",
        "A.2": "Expected value",
        "A.3": "Pseudoinverse iteration",
        "A.4": "Gauss-Newton",
    },
    "v2": {
        "A.1": "Hyperparameter details",
        "A.2": "Proof of Theorem 1",
        "A.3": "Expected value",
        "A.4": "Pseudoinverse iteration",
        "A.5": "Gauss-Newton",
        "A.6": "Pseudocode",
    },
}
"""Headings of the appendices."""
