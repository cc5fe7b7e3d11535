"""Reciprocal feedback beside backpropagation: the whole idea in plain NumPy.

A network of L layers computes its output h_L from its input x = h_0:

    a_l = W_l h_{l−1},    h_l = σ_l(a_l),    l = 1 … L.

The output has an error e. To learn from it, each layer needs a vector δ_l that says how a_l should change; the weights
then take the step ΔW_l = −λ · mean_batch δ_l h_{l−1}ᵀ. The two rules here differ in how e comes back to layer l:

* Backpropagation sends e through the transposes W_lᵀ. The step follows the gradient of the loss.
* Reciprocal feedback sends e through the Moore–Penrose pseudoinverses W_l⁺, which undo what the layers did. The step of
  any layer alone then moves the output by −λe, straight against the error.

"v1" and "v2" are the two versions of the paper (Cameron, Chen and Sejnowski). Samples are rows, so the paper's W h
reads ``h @ W.T``. Layers count from 1, as in the paper: entry 0 of the lists W, a, D and δ is None.

``python examples/reciprocal_feedback.py [FIGURE]`` prints a table and saves a figure; it takes about half a minute.
It is one seed on a few digits: it shows how the rules work, not which is better (README, "Table 1").
"""

import sys
from itertools import pairwise

import numpy as np

from rfnumeric.datasets import load  # for the digits; everything else is NumPy

SIZES = [784, 400, 200, 100, 50, 10]  # n_0 … n_L (v1 §5.1)
# Slopes of the leaky ReLUs σ_1 … σ_L for a < 0. Slope 1 makes a layer linear: the papers' accuracies are those of
# networks with linear hidden layers. With the slope of their text, 0.01, D⁺ multiplies by 100 and the weights explode.
SLOPES = [None, 1, 1, 1, 1, 0.01]
EPOCHS, BATCH = 20, 40


def forward(W, x, slopes=SLOPES):
    """Return a_l, h_l and D_l = diag σ'(a_l), of which only the diagonal is kept."""
    a, h, D = [None], [x], [None]
    for W_l, slope in zip(W[1:], slopes[1:], strict=True):
        a.append(h[-1] @ W_l.T)
        D.append(np.where(a[-1] > 0, 1.0, slope))
        h.append(D[-1] * a[-1])
    return a, h, D


def output_error(h_L, labels):
    """Return e = ∂loss/∂h_L = softmax(h_L) − onehot, for the cross-entropy."""
    p = np.exp(h_L - h_L.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) - np.eye(h_L.shape[1])[labels]


def transposes(W):
    """Return W_lᵀ for l = 2 … L, what backpropagation goes through; W_1ᵀ is not needed."""
    return [None, None, *(W_l.T for W_l in W[2:])]


def backprop(W_T, h, D, e):
    """Return δ_L = D_L e, δ_l = D_l W_{l+1}ᵀ δ_{l+1} (Rumelhart, Hinton and Williams 1986)."""
    delta = [None] * len(D)
    delta[-1] = D[-1] * e
    for l in range(len(D) - 2, 0, -1):
        delta[l] = D[l] * (delta[l + 1] @ W_T[l + 1].T)
    return delta


def pseudoinverses(W):
    """Return W_l⁺ for l = 2 … L; singular values up to max(m, n) · eps · σ_max count as zero (``rtol=None``)."""
    return [None, None, *(np.linalg.pinv(W_l, rtol=None) for W_l in W[2:])]


def reciprocal_feedback(W_pinv, h, D, e):
    """Return δ_l = D_l⁺ B_l e / ‖h_{l−1}‖², with B_L = I, B_l = W_{l+1}⁺ D_{l+1}⁺ B_{l+1} (v1/v2 §4.2)."""
    delta = [None] * len(D)
    B_e = e
    for l in range(len(D) - 1, 0, -1):
        D_pinv_B_e = B_e * number_pinv(D[l])
        delta[l] = D_pinv_B_e * number_pinv(np.sum(h[l - 1] ** 2, axis=1, keepdims=True))
        if l > 1:
            B_e = D_pinv_B_e @ W_pinv[l].T
    return delta


def number_pinv(d):
    """Return 1/d, and 0 where d = 0: the pseudoinverse of a number."""
    return np.divide(1.0, d, out=np.zeros_like(d), where=d != 0)


# Name: (feedback matrices, δ, steps between refreshes, λ). v2 §5 refreshes every 20 steps; the rates are those that
# ``rfnumeric compare`` uses, where each was the best one tried. Reciprocal feedback's is larger because of its 1/‖h‖².
RULES = {
    "backprop": (transposes, backprop, 1, 0.001),
    "reciprocal feedback": (pseudoinverses, reciprocal_feedback, 20, 1.0),
}


def train_step(rule, W, feedback, x, labels, step, slopes=SLOPES):
    """Take one step: change `W` in place and return the feedback matrices (v2, Algorithm 1)."""
    matrices, deltas, refresh_every, lr = RULES[rule]
    if step % refresh_every == 0:
        feedback = matrices(W)  # the sleeping phase: no input, the feedback is brought up to date
    _, h, D = forward(W, x, slopes)  # the waking phase
    delta = deltas(feedback, h, D, output_error(h[-1], labels))
    for l in range(1, len(W)):
        W[l] -= lr / len(x) * (delta[l].T @ h[l - 1])
    return feedback


def train(rule, digits, seed=0):
    """Return the weights, and the accuracy on the test images (%) after each epoch."""
    rng = np.random.default_rng(seed)
    W = [None, *(rng.normal(0, np.sqrt(2 / n), (m, n)) for n, m in pairwise(SIZES))]  # He-normal
    images, tests = (2 / 255 * part - 1 for part in (digits.train_images, digits.test_images))  # pixels in [−1, 1]
    step, feedback, accuracy = 0, None, []
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(len(images)), len(images) // BATCH):
            feedback = train_step(rule, W, feedback, images[batch], digits.train_labels[batch], step)
            step += 1
        h_L = forward(W, tests)[1][-1]
        accuracy.append(100 * np.mean(h_L.argmax(axis=1) == digits.test_labels))
    return W, accuracy


def straightness(rule, W, digits):
    """Return, for each layer, the mean cosine of −e and the change of the output that this layer's step alone makes.

    To first order δW_l = −δ_l h_{l−1}ᵀ changes a_l by −δ_l ‖h_{l−1}‖², and what follows by D_k W_k, layer after layer.
    """
    matrices, deltas, _, _ = RULES[rule]
    _, h, D = forward(W, 2 / 255 * digits.test_images - 1)
    e = output_error(h[-1], digits.test_labels)
    delta, cosines = deltas(matrices(W), h, D, e), []
    for l in range(1, len(W)):
        change = -D[l] * delta[l] * np.sum(h[l - 1] ** 2, axis=1, keepdims=True)
        for k in range(l + 1, len(W)):
            change = D[k] * (change @ W[k].T)
        norms = np.linalg.norm(change, axis=1) * np.linalg.norm(e, axis=1)
        cosines.append(np.mean(np.sum(-change * e, axis=1) / norms))
    return cosines


def draw(results, path):
    """Draw accuracy along training, and how straight each layer's step moves the output against the error."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for (rule, (accuracy, cosines)), style in zip(results.items(), ("o-", "s--"), strict=True):
        left.plot(range(1, EPOCHS + 1), accuracy, style, label=rule)
        right.plot(range(1, len(SIZES)), cosines, style, label=rule)
    left.set(xlabel="epoch", ylabel="test accuracy (%)", title="Two rules learn 4,000 digits")
    right.set(xlabel="layer l", ylabel="cosine", ylim=(0, 1.05), title="One layer's step: change of the output and −e")
    left.set_xticks(range(0, EPOCHS + 1, 5))
    right.set_xticks(range(1, len(SIZES)))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=130)


def main(path="reciprocal_feedback.png"):
    """Train both rules from the same weights on the same batches, print a table, and save the figure."""
    digits, results = load("mnist-5k"), {}
    print(f"{'rule':<22}{'accuracy (%)':>12}   cosine of −e and the output's change by layer 1 … {len(SIZES) - 1}")
    for rule in RULES:
        W, accuracy = train(rule, digits)
        results[rule] = accuracy, straightness(rule, W, digits)
        print(f"{rule:<22}{accuracy[-1]:>12.1f}   {'  '.join(f'{c:.2f}' for c in results[rule][1])}")
    draw(results, path)
    print(f"figure: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
