"""Figure 1 again: the starts are the papers', the printed rule reaches none, the basin is that of the scalar flow."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from rfnumeric.cli import app
from rfnumeric.experiments import figure1


def test_starts_are_well_conditioned_and_within_their_radius():
    for X in figure1.starts(0.5, 30, 0):
        assert X.shape == (30, 10, 10)
        assert np.abs(X - np.eye(10)).max() <= 0.5
        assert np.linalg.svd(X, compute_uv=False)[:, 0].max() > 1
        assert np.linalg.cond(X).max() <= 20


@pytest.mark.parametrize(("value", "inside"), [(0.5, True), (3.0, True), (-0.1, False), (0.0, False)])
def test_the_basin_of_one_eigenvalue(value, inside):
    U = np.eye(2)[None] * [[value], [1.0]]
    assert figure1.in_basin(U, np.eye(2)[None]).tolist() == [inside]


def test_a_rotation_is_inside_the_basin():
    c, s = np.cos(3.0), np.sin(3.0)  # eigenvalues of negative real part, but not real
    assert figure1.in_basin(np.array([[[c, -s], [s, c]]]), np.eye(2)[None]).tolist() == [True]


def test_printed_reaches_none_and_corrected_all_near_the_identity():
    options = {"count": 20, "iterations": 300, "every": 50, "seed": 0}
    printed, corrected = (figure1.run(form, 0.1, **options) for form in ("printed", "corrected"))
    assert (printed["inverse"], corrected["inverse"]) == (0, 20)
    assert corrected["as_predicted"] == corrected["predicted"] == 20
    assert corrected["iterations"] == [0, 50, 100, 150, 200, 250, 300]
    distances = np.asarray(corrected["distances"])
    U, V = figure1.starts(0.1, 20, 0)
    np.testing.assert_allclose(distances[:, 0], np.linalg.norm(np.linalg.inv(U) - V, axis=(1, 2)), rtol=1e-12)
    # The error shrinks by 1 − 2η = 0.8 a step; 300 steps leave rounding: c·n·eps·κ², c = 100.
    assert distances[:, -1].max() <= 100 * 10 * 2.3e-16 * 20**2


def test_command(tmp_path):
    arguments = ["reproduce", "figure1", "--starts", "10", "--iterations", "100", "--json", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [(r["form"], r["radius"]) for r in results][:2] == [("printed", 1.0), ("printed", 0.1)]
    assert all(len(r["distances"]) == 10 for r in results)
    assert (tmp_path / "figure1.png").read_bytes().startswith(b"\x89PNG")
