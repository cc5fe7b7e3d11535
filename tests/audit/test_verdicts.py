"""Every recorded verdict survives five seeds, both precisions and every backend."""

from __future__ import annotations

import sys

import pytest

from rfnumeric.audit import CLAIMS, SECTIONS, VERDICTS, all_claims, run_audit
from rfnumeric.audit.claim import FAILS, HOLDS, HOLDS_IF, OPEN, UNDECIDED, Measured, claim
from rfnumeric.audit.lab import VIOLATION, Lab
from rfnumeric.audit.mathematics import parse, plain, segments, to_html
from rfnumeric.audit.run import select
from rfnumeric.backend import get_backend

HOST = get_backend("numpy", dtype="float64")


def contradicted(results):
    return [(r.claim.id, r.measured.verdict, r.measured.evidence) for r in results if not r.ok]


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_survive_other_seeds(seed, dtype):
    # The open claim measures nothing that could contradict it, and trains three networks.
    ids = [c.id for c in all_claims() if c.verdict != OPEN]
    assert contradicted(run_audit(ids, seed=seed, dtype=dtype)) == []


def test_verdicts_survive_every_backend(backend):
    if backend.name == "numpy":
        pytest.skip("five seeds of it run above")
    if backend.name == "torch":
        sys.modules["torch"].set_num_threads(1)
    ids = [c.id for c in all_claims() if c.verdict != OPEN]
    assert contradicted(run_audit(ids, seed=7, backend=backend)) == []


def test_registry_is_complete():
    claims = all_claims()
    assert len(claims) >= 40
    assert {c.section for c in claims} == set(SECTIONS)
    assert {c.verdict for c in claims} == set(VERDICTS)
    for c in claims:
        assert "v1" in c.place or "v2" in c.place
        assert c.check.__doc__, f"{c.id} does not say how it is measured"
        # A verdict with a condition or a correction says which.
        if c.verdict in (HOLDS_IF, FAILS):
            assert c.note
        if c.verdict == HOLDS_IF:
            assert "Holds" in c.note
    assert len({c.check for c in claims}) == len(claims)


def test_open_claims_stay_open():
    ids = [c.id for c in all_claims() if c.verdict == OPEN]
    assert ids
    assert all(r.ok and r.measured.evidence for r in run_audit(ids, dtype="float32"))


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (Measured(True, ""), HOLDS),
        (Measured(True, "", corrected=False), UNDECIDED),
        (Measured(False, ""), FAILS),
        (Measured(False, "", under_condition=True), HOLDS_IF),
        (Measured(False, "", under_condition=False), UNDECIDED),
        (Measured(False, "", corrected=True), FAILS),
        (Measured(False, "", corrected=False), UNDECIDED),
        (Measured(None, ""), UNDECIDED),
        (Measured(None, "", open=True), OPEN),
    ],
)
def test_verdict_of_a_measurement(measured, expected):
    assert measured.verdict == expected


def test_judge_leaves_a_gap_between_zero_and_violation():
    lab = Lab(0, HOST)
    assert lab.judge(1e-14, 1e-13) is True
    assert lab.judge(VIOLATION, 1e-13) is False
    assert lab.judge(1e-5, 1e-13) is None
    assert lab.judge(float("nan"), 1e-13) is False
    # A tolerance that reaches the violations decides nothing.
    assert lab.judge(0.0, VIOLATION) is None


def test_a_lab_draws_the_same_instances_on_every_backend(backend64):
    mine, theirs = Lab(3, HOST, "X"), Lab(3, backend64, "X")
    for _ in range(2):
        assert mine.norm(mine.normal(4, 5)) == pytest.approx(theirs.norm(theirs.normal(4, 5)), rel=1e-14)


def test_drawn_matrices_have_the_condition_they_claim(backend64):
    lab = Lab(0, backend64)
    for shape in ((5, 8), (8, 5), (1, 4), (2, 2)):
        s = lab.xp.linalg.svdvals(lab.matrix(*shape, 0.5, 2.0))
        assert float(s[0]) == pytest.approx(2.0)
        assert float(s[-1]) == pytest.approx(0.5 if min(shape) > 1 else 2.0)


def test_selection_takes_any_case_and_names_close_ids():
    assert [c.id for c in select(["w01", "J05", "W01"])] == ["W01", "J05"]
    with pytest.raises(ValueError, match=r"one of the \d+ claims, e\.g\. .*; got 'J99'"):
        select(["J99"])


def test_registering_twice_or_wrongly_is_refused():
    options = {"place": "v1", "statement": "", "section": "wording"}
    with pytest.raises(ValueError, match=r"J05 is registered twice"):
        claim("J05", verdict=HOLDS, **options)(lambda lab: Measured(True, ""))
    with pytest.raises(ValueError, match=r"verdict must be one of"):
        claim("Z1", verdict="true", **options)
    with pytest.raises(ValueError, match=r"section must be one of"):
        claim("Z1", verdict=HOLDS, place="", statement="", section="x")
    assert "Z1" not in CLAIMS


def test_mathematics_of_every_claim_parses():
    for c in all_claims():
        for text in (c.statement, c.note):
            for is_math, part in segments(text):
                if is_math:
                    parse(part)
            assert "$" not in plain(text)
            assert to_html(text).count("<math>") == text.count("$") // 2


@pytest.mark.parametrize(
    ("source", "text", "mathml"),
    [
        ("$W_{l+1}^+$", "Wₗ₊₁⁺", "<msubsup><mi>W</mi><mrow><mi>l</mi><mo>+</mo><mn>1</mn></mrow><mo>+</mo></msubsup>"),
        ("$\\hat{y}$", "ŷ", '<mover accent="true"><mi>y</mi><mo>^</mo></mover>'),
        ("$a < b$", "a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
        ("$\\text{vec} X$", "vec X", "<mtext>vec</mtext><mi>X</mi>"),
        ("$x_{σ}$", "x_σ", "<msub><mi>x</mi><mi>σ</mi></msub>"),
    ],
)
def test_mathematics_in_text_and_mathml(source, text, mathml):
    assert plain(source) == text
    assert to_html(source) == f"<math>{mathml}</math>"


@pytest.mark.parametrize("source", ["$x", "$x_$", "$_x$", "${x$", "$x}$", "$\\alpha$"])
def test_wrong_mathematics_is_refused(source):
    with pytest.raises(ValueError):
        to_html(source)
