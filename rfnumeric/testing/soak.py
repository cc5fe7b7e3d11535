"""A long run that looks for wrong answers: matrices of many families through every engine, against extended precision.

``python -m rfnumeric.testing.soak --minutes 10`` draws, counts and prints; each finding has a line that repeats it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import rfnumeric
from rfnumeric import linalg
from rfnumeric.errors import ConvergenceError
from rfnumeric.linalg.penrose import RATIO_LIMIT
from rfnumeric.linalg.pinv import METHODS
from rfnumeric.testing._families import FAMILIES
from rfnumeric.testing._oracle import exact_pinv

ENGINES = tuple(method for method in METHODS if method != "ben-israel-cohen")
DTYPES = ("float64", "float32", "complex128", "complex64")
MEMBERS = 256
LIMIT = 100.0
"""An X called good is wrong if ‖X − A⁺‖₂ > LIMIT·max(m, n)·eps·κ·‖A⁺‖₂."""
FAULTS = ("wrong", "refused by auto or svd", "paths disagree", "undocumented exception", "wrong value")


class Case:
    """One stack of matrices of one family, reproducible from its seed and index, and its A⁺ in extended precision.

    Attributes
    ----------
    A : array, shape (members, m, n)
    exact : array, shape (members, n, m)
        A⁺ at the cutoff max(m, n)·eps·σ₁, in extended precision.
    limit : array, shape (members,)
        Largest error in the 2-norm of a right answer.
    judged : bool array, shape (members,)
        False where rounding decides the rank, a singular value being between 0.4 and 3.1 times the cutoff, or where A⁺
        is beyond the range of the dtype.
    """

    def __init__(self, seed: int, index: int) -> None:
        self.rng = rng = np.random.default_rng([seed, index])
        self.name = list(FAMILIES)[index % len(FAMILIES)]
        self.dtype = str(rng.choice(DTYPES, p=(0.45, 0.3, 0.15, 0.1)))
        m, n = (int(x) for x in rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 12], 2))
        A = FAMILIES[self.name](rng, MEMBERS, m, n)
        if self.dtype.startswith("complex"):
            # Phases of rows and columns keep the singular values, and a family's zeros and ones in size.
            A = A * np.exp(2j * np.pi * rng.random((MEMBERS, m, 1))) * np.exp(2j * np.pi * rng.random((MEMBERS, 1, n)))
        self.A = (A * self._scales(rng)[:, None, None]).astype(self.dtype)
        self.unit = max(m, n) * float(np.finfo(self.dtype).eps)
        self.exact, S = exact_pinv(self.A, self.unit)
        relative = S / np.where(S[:, :1] > 0, S[:, :1], 1) / self.unit
        clear = ~((relative > 0.4) & (relative < 3.1)).any(axis=1)
        kept = np.where(relative > 1, S, np.inf).min(axis=1)
        norm = np.where(np.isfinite(kept), 1 / kept, 0)
        self.limit = LIMIT * self.unit * S[:, 0] * norm * norm
        self.representable = np.abs(self.exact).max(axis=(1, 2)) < np.finfo(self.dtype).max / 4
        self.judged = clear & self.representable
        self.kappa = S[:, 0] * norm

    def _scales(self, rng: np.random.Generator) -> np.ndarray:
        """Draw powers of two: mostly 1, and over the whole range of exponents, subnormal matrices included."""
        info = np.finfo(self.dtype)
        low, high = info.minexp - info.nmant // 2, info.maxexp - 8
        return np.where(rng.random(MEMBERS) < 0.6, 1.0, 2.0 ** rng.integers(low, high, MEMBERS))

    def wrong(self, X: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Tell which members of `good` are judged and further from A⁺ than the limit."""
        found = np.zeros(MEMBERS, dtype=bool)
        difference = X.astype(self.exact.dtype) - self.exact
        for k in np.flatnonzero(good & self.judged):
            size = np.sqrt(np.sum(np.abs(difference[k]) ** 2))
            if not size <= self.limit[k]:
                ratio = difference[k] / self.limit[k] if self.limit[k] > 0 else difference[k] * np.inf
                kind = np.complex128 if np.iscomplexobj(ratio) else np.float64
                found[k] = not np.isfinite(size) or np.linalg.norm(ratio.astype(kind), 2) > 1
        return found


class Soak:
    """Counts what the cases show."""

    def __init__(self, seed: int, verbose: bool = True) -> None:
        self.seed, self.verbose = seed, verbose
        self.counts: dict[str, Counter[str]] = {}
        self.findings: list[str] = []

    def add(self, name: str, what: str, number: int = 1) -> None:
        """Count; zero is not kept."""
        if number:
            self.counts.setdefault(name, Counter())[what] += int(number)

    def report(self, name: str, what: str, members: Any, case: Case, index: int) -> None:
        """Count a fault and keep the line that repeats it."""
        members = np.atleast_1d(members)
        self.add(name, what, len(members))
        if len(members):
            line = (
                f"{what}: {name}, {case.name}, {case.dtype}, {case.A.shape[1]}×{case.A.shape[2]}, members "
                f"{members[:8].tolist()}: python -m rfnumeric.testing.soak --case {self.seed}:{index}"
            )
            self.findings.append(line)
            if self.verbose:
                print(line, file=sys.stderr)

    @property
    def results(self) -> int:
        """How many results there are, of all engines and functions."""
        return sum(counter["results"] for counter in self.counts.values())

    @property
    def faults(self) -> int:
        """How many of them are faults."""
        return sum(counter[what] for counter in self.counts.values() for what in FAULTS)

    def run(self, index: int) -> None:
        """Run one case through every engine and function."""
        case = Case(self.seed, index)
        for method in ENGINES:
            self._guard(f"pinv {method}", case, index, lambda method=method: self._engine(method, case, index))
        functions = {
            "ben_israel_cohen": lambda: linalg.ben_israel_cohen(case.A),
            "hyperpower order 4": lambda: linalg.hyperpower(case.A, order=4),
            "GramNewton": lambda: linalg.GramNewton(case.A).result,
        }
        for name, function in functions.items():
            self._guard(name, case, index, lambda name=name, f=function: self._iteration(name, f(), case, index))
        self._guard("satisfied_conditions", case, index, lambda: self._conditions(case, index))
        self._guard("condition_number", case, index, lambda: self._condition_number(case, index))
        self._guard("damped_pinv", case, index, lambda: self._damped(case, index))
        self._guard("PinvOperator", case, index, lambda: self._operator(case, index))
        self._guard("updates", case, index, lambda: self._updates(case))

    def _guard(self, name: str, case: Case, index: int, function: Any) -> None:
        try:
            function()
        except Exception as error:  # whatever it is: that is what is looked for
            self.report(f"{name} ({type(error).__name__}: {error})"[:200], "undocumented exception", 0, case, index)

    def _engine(self, method: str, case: Case, index: int) -> None:
        name = f"pinv {method}"
        X, info = linalg.pinv(case.A, method=method, return_info=True)
        good = info.residuals.test_ratio <= RATIO_LIMIT
        self.add(name, "results", MEMBERS)
        self.add(name, "good", good.sum())
        self.add(name, "refused", (~good).sum())
        self.add(name, "not judged", (good & ~case.judged).sum())
        self.report(name, "wrong", np.flatnonzero(case.wrong(X, good)), case, index)
        if method in ("auto", "svd"):
            self.report(name, "refused by auto or svd", np.flatnonzero(~good & case.representable), case, index)
        for k in case.rng.integers(0, MEMBERS, 2):
            try:
                linalg.pinv(case.A[k], method=method)
                returned = True
            except ConvergenceError:
                returned = False
            alone = linalg.pinv(case.A[k], method=method, return_info=True)[1].status == "converged"
            if method not in ("auto", "svd") and returned != alone:
                self.report(name, "paths disagree", k, case, index)

    def _iteration(self, name: str, result: Any, case: Case, index: int) -> None:
        good = np.asarray([status == "converged" for status in result.statuses])
        self.add(name, "results", MEMBERS)
        self.add(name, "good", good.sum())
        self.add(name, "refused", (~good).sum())
        self.report(name, "wrong", np.flatnonzero(case.wrong(result.value, good)), case, index)

    def _conditions(self, case: Case, index: int) -> None:
        """Try A⁺ rounded once, which must pass, and what differs from it by more than the limit, which must not."""
        with np.errstate(over="ignore"):
            X = case.exact.astype(case.dtype)
        ratio = linalg.penrose_residuals(case.A, X).test_ratio
        self.add("satisfied_conditions", "results", 2 * MEMBERS)
        self.report(
            "satisfied_conditions", "wrong value", np.flatnonzero(case.judged & ~(ratio <= RATIO_LIMIT)), case, index
        )
        noise = case.rng.standard_normal(X.shape) * 10.0 ** case.rng.uniform(0, 25, (MEMBERS, 1, 1))
        with np.errstate(over="ignore", invalid="ignore"):
            Y = (X + noise * (case.limit / np.sqrt(X[0].size))[:, None, None]).astype(case.dtype)
        good = linalg.penrose_residuals(case.A, Y).test_ratio <= RATIO_LIMIT
        self.report("satisfied_conditions", "wrong", np.flatnonzero(case.wrong(Y, good)), case, index)

    def _condition_number(self, case: Case, index: int) -> None:
        found = linalg.condition_number(case.A)
        self.add("condition_number", "results", MEMBERS)
        full = case.judged & (case.kappa * case.unit < 1e-3) & (case.kappa > 0)
        trace = np.sum(case.A * np.swapaxes(case.exact, 1, 2), axis=(1, 2)).real
        full &= trace > min(case.A.shape[1:]) - 0.5
        # Singular values are right to max(m, n)·eps·σ₁.
        off = ~(np.abs(found / case.kappa - 1) <= LIMIT * case.unit * case.kappa)
        self.report("condition_number", "wrong value", np.flatnonzero(full & off), case, index)

    def _damped(self, case: Case, index: int) -> None:
        """With λ = ‖A‖_F², (AᴴA + λI) has a condition number of at most two."""
        A = case.A.astype(np.clongdouble if np.iscomplexobj(case.A) else np.longdouble)
        squared = np.sum(np.abs(A) ** 2, axis=(1, 2))
        info = np.finfo(case.dtype)
        usable = np.flatnonzero((squared > info.tiny) & (squared < info.max / 16) & case.representable)
        self.add("damped_pinv", "results", len(usable))
        for k in usable[:4]:
            damping = float(squared[k])
            X = linalg.damped_pinv(case.A[k], damping)
            G = A[k].conj().T @ A[k] + damping * np.eye(A.shape[2])
            residual = np.abs(G @ X - A[k].conj().T).max() / np.abs(A[k]).max()
            if not residual <= LIMIT * case.unit:
                self.report("damped_pinv", "wrong value", k, case, index)

    def _operator(self, case: Case, index: int) -> None:
        """On vectors the error may be as large as A⁺'s own, at the limit, times the vector's norm."""
        b = case.rng.standard_normal(case.A.shape[1]).astype(case.A.real.dtype)
        for k in np.flatnonzero(case.judged)[:3]:
            x = linalg.PinvOperator(case.A[k]).matvec(b.astype(case.dtype))
            self.add("PinvOperator", "results")
            error = np.sqrt(np.sum(np.abs(x - case.exact[k] @ b) ** 2))
            if not error <= case.limit[k] * np.linalg.norm(b.astype(np.float64)):
                self.report("PinvOperator", "wrong value", k, case, index)

    def _updates(self, case: Case) -> None:
        """Whatever they give, they must not fail; their accuracy has tests of its own."""
        k = int(case.rng.integers(0, MEMBERS))
        A, X = case.A[k], linalg.pinv(case.A[k])
        if not np.isfinite(X).all():
            return
        c, d = (case.rng.standard_normal(size).astype(case.dtype) * np.abs(A).max() for size in A.shape)
        linalg.rank_one_update(A, X, c, d)
        linalg.append_column(A, X, c)
        if A.shape[1] > 1:
            linalg.delete_column(A, X, 0)
        self.add("updates", "results", 3)

    def table(self) -> str:
        """Return the counts, a line each."""
        columns = ("results", "good", "refused", "not judged", *FAULTS)
        lines = ["".join(f"{column:>24}" for column in ("", *columns))]
        for name, counter in sorted(self.counts.items()):
            lines.append(f"{name:>24}" + "".join(f"{counter[column]:>24,}" for column in columns))
        return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m rfnumeric.testing.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--count", type=int, help="stop after so many results of engines and functions")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write counts and findings there")
    parser.add_argument("--case", metavar="SEED:INDEX", help="repeat one case")
    options = parser.parse_args(arguments)
    if options.case:
        seed, index = (int(part) for part in options.case.split(":"))
        soak, cases = Soak(seed), range(index, index + 1)
    else:
        if options.minutes is None and options.count is None:
            parser.error("say how long: --minutes N or --count N")
        soak, cases = Soak(options.seed), range(sys.maxsize)
    start = time.monotonic()
    for index in cases:
        soak.run(index)
        spent = (time.monotonic() - start) / 60
        if (options.minutes is not None and spent >= options.minutes) or (
            options.count is not None and soak.results >= options.count
        ):
            break
    print(soak.table())
    print(
        f"{soak.results:,} results of {index + 1 - cases.start:,} stacks in {spent:.1f} minutes: {soak.faults} faults"
    )
    if options.json:
        _write(options.json, soak, index + 1 - cases.start, spent)
    return int(soak.faults > 0)


def _write(path: Path, soak: Soak, stacks: int, minutes: float) -> None:
    record = {
        "rfnumeric": rfnumeric.__version__,
        "numpy": np.__version__,
        "seed": soak.seed,
        "stacks": stacks,
        "results": soak.results,
        "faults": soak.faults,
        "minutes": round(minutes, 1),
        "counts": {name: dict(counter) for name, counter in sorted(soak.counts.items())},
        "findings": soak.findings,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
