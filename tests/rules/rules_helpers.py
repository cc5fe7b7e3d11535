"""Independent oracles of the rules: PyTorch autograd with swapped feedback, and dense Jacobians' reciprocals."""

from __future__ import annotations

import numpy as np
import pytest

from rfnumeric.backend import to_numpy

# A test module that takes its oracles from here is skipped where PyTorch is missing.
torch = pytest.importorskip("torch")


def host(a):
    """A float64 copy on the host."""
    return to_numpy(a).astype(np.float64)


def torch_activation(activation):
    slope = getattr(activation, "negative_slope", 0.0)
    functional = torch.nn.functional
    return {
        "identity": lambda a: a,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "leaky-relu": lambda a: functional.leaky_relu(a, slope),
        "leaky-softplus": lambda a: slope * a + (1 - slope) * functional.softplus(a, threshold=1e9),
    }[activation.name]


class LinearWithFeedback(torch.autograd.Function):
    """h Wᵀ forward; backward the error goes through M (n_in × n_out) where autograd would take Wᵀ."""

    @staticmethod
    def forward(context, h, W, M):
        context.save_for_backward(h, M)
        return h @ W.T

    @staticmethod
    def backward(context, gradient):
        h, M = context.saved_tensors
        return gradient @ M.T, gradient.T @ h, None


def torch_loss(name, h, labels):
    """Mean over the batch: the loss whose gradient the update follows."""
    labels = torch.tensor(labels)
    if name == "cross-entropy":
        return torch.nn.functional.cross_entropy(h, labels)
    return ((h - torch.nn.functional.one_hot(labels, h.shape[1])) ** 2).sum() / 2 / len(labels)


def torch_gradients(network, x, labels, loss, M=None):
    """Return dicts l → ∂loss/∂W_l and ∂loss/∂b_l by autograd; with M, its matrices replace W_lᵀ on the way back."""
    W = {l: torch.tensor(host(network.W[l]), requires_grad=True) for l in range(1, network.L + 1)}
    b = {l: torch.tensor(host(network.b[l]), requires_grad=True) for l in W} if network.has_bias else {}
    h = torch.tensor(host(x))
    for l in W:
        if M is None or l == 1:
            a = h @ W[l].T
        else:
            a = LinearWithFeedback.apply(h, W[l], torch.tensor(host(M[l])))
        h = torch_activation(network.activation(l))(a + b[l] if b else a)
    torch_loss(loss, h, labels).backward()
    return tuple({l: v.grad.numpy() for l, v in part.items()} for part in (W, b))


def steps(network, trace, delta):
    """Return dicts l → mean_batch δ_l h_{l−1}ᵀ and mean_batch δ_l: what the update multiplies by −λ."""
    layers = range(1, network.L + 1)
    W = {l: np.einsum("bi,bj->ij", host(delta[l]), host(trace.h[l - 1])) / len(host(delta[l])) for l in layers}
    return W, {l: host(delta[l]).mean(axis=0) for l in layers}


def relative_error(got, wanted):
    """‖got − wanted‖ / ‖wanted‖, and 0 for two zeros."""
    error = np.linalg.norm(got - wanted)
    return error / np.linalg.norm(wanted) if error else 0.0


def dense_pinv(W, damping=0.0):
    """W⁺ by NumPy, or Wᵀ(WWᵀ + λI)⁻¹ with λ relative to the mean squared singular value."""
    if not damping:
        return np.linalg.pinv(W)
    lam = damping * np.sum(np.linalg.svd(W, compute_uv=False) ** 2) / min(W.shape)
    return W.T @ np.linalg.inv(W @ W.T + lam * np.eye(len(W)))


def dense_reciprocals(network, trace, i, own_layer, normalize, weight_damping=0.0, derivative_damping=0.0, W_pinv=None):
    """Return l → 𝓑_l of sample i, (n_l · n_in, n_L), as an explicit Kronecker product; vec is column-major.

    The parameter of a layer with bias is [W b], with input [h 1].
    """
    L = network.L
    pinvs = W_pinv or {l: dense_pinv(host(network.W[l]), weight_damping) for l in range(2, L + 1)}
    B = np.eye(network.sizes[-1])
    found = {}
    for l in range(L, 0, -1):
        D = np.diag(host(trace.d_sigma[l])[i])
        if derivative_damping:
            D_pinv = D @ np.linalg.inv(D @ D + derivative_damping * np.eye(len(D)))
        else:
            D_pinv = np.linalg.pinv(D)
        own = {"reciprocal": D_pinv, "derivative": D, "none": np.eye(len(D))}[own_layer]
        h = host(trace.h[l - 1])[i]
        h = np.append(h, 1.0) if network.has_bias else h
        left = h[:, None] / (h @ h) if normalize else h[:, None]
        found[l] = np.kron(left, own @ B)
        if l > 1:
            B = pinvs[l] @ D_pinv @ B
    return found


def dense_jacobian(network, x, l):
    """∂h_L/∂vec([W_l b_l]) of one sample by autograd, (n_L, n_l · n_in), vec column-major."""
    parameter = host(network.W[l])
    if network.has_bias:
        parameter = np.hstack([parameter, host(network.b[l])[:, None]])

    def output(flat):
        own = flat.reshape(parameter.shape[::-1]).T
        h = torch.tensor(host(x))
        for k in range(1, network.L + 1):
            W = own[:, : network.sizes[k - 1]] if k == l else torch.tensor(host(network.W[k]))
            a = W @ h
            if network.has_bias:
                a = a + (own[:, -1] if k == l else torch.tensor(host(network.b[k])))
            h = torch_activation(network.activation(k))(a)
        return h

    return torch.autograd.functional.jacobian(output, torch.tensor(parameter.T.ravel())).numpy()
