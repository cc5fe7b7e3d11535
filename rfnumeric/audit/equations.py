"""Every displayed equation of the papers, by section, with the claims that audit it and the code that implements it."""

from __future__ import annotations

from typing import NamedTuple


class Equation(NamedTuple):
    """One displayed equation, or a group that the papers display together.

    Attributes
    ----------
    v1, v2 : str
        Its section in each version; empty where it is not in that version.
    equation : str
        With mathematics between dollar signs, as printed.
    claims : tuple of str
        Ids of the claims that measure it.
    code : str
        ``module:name`` of what implements it, corrected.
    """

    v1: str
    v2: str
    equation: str
    claims: tuple[str, ...]
    code: str


EQUATIONS = (
    Equation("", "§2.1", "$h_l = σ_l(W_lh_{l-1}) := f_l(h_{l-1})$", ("G10",), "rfnumeric.nn.network:Network.forward"),
    Equation(
        "",
        "§2.1",
        "$\\hat{h}_l = σ_l(Q_l\\hat{h}_{l+1}) := g_l(\\hat{h}_{l+1})$",
        ("G09",),
        "rfnumeric.nn.activations:Activation.inverse",
    ),
    Equation(
        "",
        "§2.1",
        "$L_l = ‖h_l - \\hat{h}_l‖_2^2$, $L_l = ‖g_l(f_{l+1}(h_l)) - h_l‖_2^2$",
        ("G10",),
        "rfnumeric.nn.activations:Activation.inverse",
    ),
    Equation(
        "",
        "§2.1",
        "$Δh_l ∝ \\hat{h}_l - h_l ≈ λ(∏_{k=l+1}^L J_k^{-1})e = λ(∏_{k=L}^{l+1} J_k)^{-1}e$",
        ("G08", "R04"),
        "rfnumeric.calculus.reciprocals:activation_reciprocals",
    ),
    Equation(
        "",
        "§3",
        "$AA^+A = A$, $A^+AA^+ = A^+$, $(AA^+)^T = AA^+$, $(A^+A)^T = A^+A$",
        ("P05",),
        "rfnumeric.linalg.penrose:penrose_residuals",
    ),
    Equation(
        "§3",
        "§3",
        "$X_{t+1} - X_t = X_t - X_tAX_t$",
        ("P03", "P04", "P16"),
        "rfnumeric.linalg.iterations:ben_israel_cohen",
    ),
    Equation(
        "§3",
        "§3",
        "$ΔU = U - UVU = σ^{-2}(U - UVU)E[yy^T] = σ^{-2}E[(Uy - UVUy)y^T]$",
        ("P02", "P06"),
        "rfnumeric.rules.inverses:recirculate",
    ),
    Equation(
        "§3",
        "§3",
        "$h = Uy$, $\\hat{y} = Vh$, $\\hat{h} = U\\hat{y}$",
        ("P06",),
        "rfnumeric.linalg.online:recirculation_step",
    ),
    Equation(
        "§3",
        "§3",
        "$ΔU = σ^{-2}E[(h - \\hat{h})y^T]$",
        ("P06", "P07"),
        "rfnumeric.linalg.online:recirculation_step",
    ),
    Equation(
        "",
        "§3.1",
        "$δ_{W^+} = (W^+Wy - y)(Wy)^T$, $ΔW = -λδ_{W^+}$",
        ("P10", "P11", "P12", "P13"),
        "rfnumeric.rules.inverses:autoencoder_step",
    ),
    Equation(
        "§4", "§4", "$h_0 = x$, $a_l = W_lh_{l-1}$, $h_l = σ(a_l)$", ("J10",), "rfnumeric.nn.network:Network.forward"
    ),
    Equation(
        "§4",
        "§4",
        "$𝓔 = ½‖h_L - h_L^*‖_2^2$",
        ("J01", "W07"),
        "rfnumeric.nn.losses:MeanSquaredError",
    ),
    Equation("§4", "§4", "$e = h_L - h_L^*$", ("J01", "J02"), "rfnumeric.nn.losses:MeanSquaredError"),
    Equation("§4", "§4", "$J_X^y = ∂y/∂(\\text{vec}X)^T$", ("J03",), "rfnumeric.calculus.jacobians:jacobian"),
    Equation("§4", "§4", "$J_Z^Y = J_X^YJ_Z^X$", ("J04", "J05"), "rfnumeric.calculus.jacobians:activation_jacobians"),
    Equation(
        "§4",
        "§4",
        "$E(x, W_l^1) - E(x, W_l^0) - J_{W_l}^E(\\text{vec}W_l^1 - \\text{vec}W_l^0) = r(\\text{vec}W_l^0)"
        "‖\\text{vec}W_l^1 - \\text{vec}W_l^0‖$",
        ("J12",),
        "rfnumeric.calculus.jacobians:finite_difference_jacobian",
    ),
    Equation(
        "§4",
        "§4",
        "$lim ‖r(\\text{vec}W_0)‖ = 0$",
        ("J12",),
        "rfnumeric.calculus.jacobians:finite_difference_jacobian",
    ),
    Equation(
        "§4",
        "§4",
        "$TAy = y$, $M‖T‖ < 1$, $‖A(y_1-y_2) - F(x,y_1) + F(x,y_2)‖ ≤ M‖y_1-y_2‖$",
        ("T01", "T05", "T09", "T10", "T12"),
        "rfnumeric.calculus.newton:certificate",
    ),
    Equation("§4", "§4", "$‖T‖‖F(x,y_0)‖ < r(1-M‖T‖)$", ("T01", "T12"), "rfnumeric.calculus.newton:certificate"),
    Equation("§4", "§4", "$TF(x,y^*) = 0$", ("T01", "T04"), "rfnumeric.calculus.newton:hildebrandt_graves"),
    Equation("§4", "§4", "$y_{t+1} = y_t - TF(x,y_t)$", ("T01", "T11"), "rfnumeric.calculus.newton:hildebrandt_graves"),
    Equation(
        "§4.1",
        "§4.1",
        "$[J_{W_l}^E]_{ij} = ∂E/∂W_{ij}^l = ∑_k ∂h_k^l/∂W_{ij}^l ∂E/∂h_k^l = a_j^{l-1}∂E/∂h_i^l$",
        ("J06",),
        "rfnumeric.calculus.jacobians:jacobian",
    ),
    Equation(
        "§4.1",
        "§4.1",
        "$J_{W_l}^E = J_{W_l}^{h_l}J_{h_l}^E = a_{l-1} ⊗ J_{h_l}^E$",
        ("J05", "J07", "J08", "J09"),
        "rfnumeric.calculus.jacobians:jacobian",
    ),
    Equation(
        "§4.1",
        "§4.1",
        "$J_{h_l}^E = J_{h_{l+1}}^EJ_{a_{l+1}}^{h_{l+1}}J_{h_l}^{a_{l+1}} = J_{h_{l+1}}^ED_σW_{l+1}$",
        ("J10", "J11"),
        "rfnumeric.calculus.jacobians:activation_jacobians",
    ),
    Equation(
        "§4.2",
        "§4.2",
        "$B_l = (D_σW_{l+1})^+B_{l+1} = W_{l+1}^+D_σ^+B_{l+1}$",
        ("R01", "R02", "R03"),
        "rfnumeric.calculus.reciprocals:activation_reciprocals",
    ),
    Equation(
        "§4.2",
        "§4.2",
        "$𝓑_l = ‖a‖_2^{-2}a_{l-1}^T ⊗ B_l$",
        ("R07",),
        "rfnumeric.calculus.reciprocals:weight_reciprocal",
    ),
    Equation(
        "§4.2",
        "§4.2",
        "$𝓑_lJ_{W_l}^E = (‖a‖_2^{-2}a_{l-1}^T ⊗ B_l)(a_{l-1} ⊗ J_{h_l}^E) = B_lJ_{h_l}^E$",
        ("R08",),
        "rfnumeric.calculus.reciprocals:weight_reciprocal",
    ),
    Equation(
        "§4.2",
        "§4.2",
        "$δ_{W_l} = 𝓑_le = (‖a‖_2^{-2}a_{l-1}^T ⊗ B_l)e = ‖a‖_2^{-2}B_lea_{l-1}^T$",
        ("R09", "R12"),
        "rfnumeric.rules.recursion:reciprocal_deltas",
    ),
    Equation(
        "§4.2",
        "§4.2",
        "$W_l^{t+1} = W_l^t - λδ_{W_l}$",
        ("T11", "R13"),
        "rfnumeric.nn.network:Network.update",
    ),
    Equation(
        "Algorithm 1",
        "A.6",
        "$B_l ← W_l^+D_σ^+B_{l+1}$, $δ_{W_l} ← (B_le)a_{l-1}^T$",
        ("R10", "R11", "R13", "R14"),
        "rfnumeric.rules.rf_two_phase:RFTwoPhase",
    ),
    Equation(
        "",
        "A.6",
        "$δ_{W_l^+} ← (W_l^+W_la_l - a_l)a_{l-1}^T$",
        ("P14",),
        "rfnumeric.rules.rf_parallel:RFParallel",
    ),
    Equation(
        "A.1",
        "A.2",
        "$TAy = y$, $M‖T‖ < 1$, $‖A(y_1-y_2) - F(x,y_1) + F(x,y_2)‖ ≤ M‖y_1-y_2‖$",
        ("T01",),
        "rfnumeric.calculus.newton:certificate",
    ),
    Equation("A.1", "A.2", "$‖T‖‖F(x,y_0)‖ < r(1-M‖T‖)$", ("T01",), "rfnumeric.calculus.newton:certificate"),
    Equation("A.1", "A.2", "$TF(x,y(x)) = 0$", ("T01", "T04"), "rfnumeric.calculus.newton:hildebrandt_graves"),
    Equation("A.1", "A.2", "$G(x,y) = y - TF(x,y)$", ("T03",), "rfnumeric.calculus.newton:hildebrandt_graves"),
    Equation(
        "A.1",
        "A.2",
        "$G(x,y_1) - G(x,y_2) = T(A(y_1-y_2) - F(x,y_1) + F(x,y_2))$",
        ("T03",),
        "rfnumeric.calculus.newton:certificate",
    ),
    Equation(
        "A.1",
        "A.2",
        "$‖G(x,y_1) - G(x,y_2)‖ ≤ ‖T‖M‖y_1-y_2‖ < ‖y_1-y_2‖$",
        ("T03",),
        "rfnumeric.calculus.newton:certificate",
    ),
    Equation(
        "A.1",
        "A.2",
        "$y_1 = G(x,y_0)$, $y_{k+1} = G(x,y_k)$",
        ("T01", "T06"),
        "rfnumeric.calculus.newton:hildebrandt_graves",
    ),
    Equation(
        "A.1", "A.2", "$‖y_1 - y_0‖ ≤ ‖T‖‖F(x,y_0)‖ < r(1-M‖T‖)$", ("T02",), "rfnumeric.calculus.newton:certificate"
    ),
    Equation("A.1", "A.2", "$‖y_{k+1} - y_k‖ < p^kr(1-p)$", ("T02",), "rfnumeric.calculus.newton:Certificate.bound"),
    Equation("A.1", "A.2", "$TF(x,y^*) = 0$", ("T01",), "rfnumeric.calculus.newton:hildebrandt_graves"),
    Equation("A.1", "A.2", "$A^TF(x,y^*) = 0$", ("T07", "T08"), "rfnumeric.calculus.newton:certificate"),
    Equation("A.2", "A.3", "$y = ∑_i y_ie^{(i)}$", ("P01",), "rfnumeric.backend.random:Streams.normal"),
    Equation(
        "A.2", "A.3", "$yy^T = ∑_i∑_j y_ie^{(i)}e^{(j)T}y_j$", ("P01",), "rfnumeric.backend.random:Streams.normal"
    ),
    Equation(
        "A.2",
        "A.3",
        "$E[yy^T] = ∑_i∑_j E[y_iy_j]e^{(i)}e^{(j)T} = σ^2I$",
        ("P01", "P02"),
        "rfnumeric.backend.random:Streams.normal",
    ),
    Equation(
        "A.3", "A.4", "$U_0 := I - E_U$, $V_0 := I - E_V$", ("C03", "C04"), "rfnumeric.linalg.coupled:CoupledRule"
    ),
    Equation(
        "A.3",
        "A.4",
        "$U_{t+1} := λU_t + (1-λ)(U_t - U_tV_tU_t)$, $V_{t+1} := λV_t + (1-λ)(V_t - V_tU_tV_t)$",
        ("C01", "C02", "C05"),
        "rfnumeric.linalg.coupled:CoupledRule",
    ),
    Equation(
        "A.4",
        "A.5",
        "$δ_{W_l} = (H_{W_l})^{-1}∇_{W_l}e$ (1)",
        ("G01",),
        "rfnumeric.calculus.gauss_newton:gauss_newton_step",
    ),
    Equation(
        "A.4",
        "A.5",
        "$δ_{W_l} = ((J_{W_l}^e)^TJ_{W_l}^e)^{-1}(J_{W_l}^e)^Te$ (2)",
        ("G02", "G03"),
        "rfnumeric.calculus.gauss_newton:gauss_newton_step",
    ),
    Equation(
        "A.4",
        "A.5",
        "$δ_{W_l} = (J_{W_l}^e)^+e$ (3)",
        ("G04", "G06"),
        "rfnumeric.calculus.gauss_newton:gauss_newton_step",
    ),
    Equation(
        "A.4",
        "A.5",
        "$(J_{W_l}^e)^+ = (W_l^TD_σ^T(J_{W_{l+1}}^e)^TJ_{W_{l+1}}^eD_σW_l)^{-1}W_l^TD_σ^T(J_{W_{l+1}}^e)^T$ (4)",
        ("G05", "G07"),
        "rfnumeric.calculus.gauss_newton:gauss_newton_step",
    ),
)
"""In the papers' order; A.1, A.2 and so on are the appendices' sections."""


def code_object(path: str) -> object:
    """Return what ``module:name`` names.

    Raises
    ------
    AttributeError
        If the module has no such name.
    """
    import importlib

    module, name = path.split(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
