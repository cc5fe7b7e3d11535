"""The `xp` fixture: every test that takes it runs on each backend, one of them strict and on a non-default device."""

from __future__ import annotations

import os
import signal

import pytest
from fixture_backends import FIXTURE, ON_REQUEST
from hypothesis import HealthCheck, is_hypothesis_test, settings

# Before NumPy loads its BLAS, here and in the processes that tests start: small matrices gain nothing from threads, and
# on a busy machine threads that wait for a core make them a hundred times slower.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A script's background jobs ignore Ctrl-C, and so would the processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from rfnumeric.backend import Backend, get_backend  # noqa: E402 (after the variables above)

# The same examples in every run, so that a red run is red again; HYPOTHESIS_PROFILE=explore draws new ones each time.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ASKED = os.environ.get("RFNUMERIC_TEST_BACKENDS")


def make_backend(name: str, dtype: str) -> Backend:
    """Return a fixture backend; raises ImportError where it is missing."""
    library, device = FIXTURE[name]
    return get_backend(library, device, dtype)


def _missing() -> dict[str, str]:
    reasons = {}
    for name in FIXTURE:
        try:
            make_backend(name, "float64")
        except ImportError as error:
            reasons[name] = str(error)
    return reasons


MISSING = _missing()


def _selected() -> list[str]:
    """Backends asked for by name, even if missing (their tests then fail); else those that are there and quick."""
    if ASKED is None:
        return [name for name in FIXTURE if name not in MISSING and name not in ON_REQUEST]
    names = [name.strip() for name in ASKED.split(",") if name.strip()]
    unknown = set(names) - set(FIXTURE)
    if unknown or not names:
        raise pytest.UsageError(f"RFNUMERIC_TEST_BACKENDS must name some of {list(FIXTURE)}; got {ASKED!r}")
    return names


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow: fuzzing and volume, minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
    if set(_selected()) <= set(ON_REQUEST):
        _draw_fewer_examples(items)


def _draw_fewer_examples(items: list[pytest.Item]) -> None:
    """Let properties draw ten examples at most: their shapes are new each time, and cost seconds each."""
    for item in items:
        function = getattr(item, "obj", None)
        if is_hypothesis_test(function):
            function = getattr(function, "__func__", function)
            before = getattr(function, "_hypothesis_internal_use_settings", settings())
            function._hypothesis_internal_use_settings = settings(
                before, max_examples=min(before.max_examples, 10), suppress_health_check=list(HealthCheck)
            )


def pytest_report_header() -> list[str]:
    lines = [f"backends under test: {', '.join(_selected())}"]
    reasons = {name: f"backend {name!r} runs on request: {why}" for name, why in ON_REQUEST.items()} | MISSING
    return lines + [f"not under test: {reason}" for name, reason in reasons.items() if name not in _selected()]


def _parameters() -> list:
    return [pytest.param(n, marks=[pytest.mark.gpu] if n == "cupy" else []) for n in _selected()]


@pytest.fixture(params=_parameters())
def xp_name(request: pytest.FixtureRequest) -> str:
    """Name of a backend of the fixture."""
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Name of a floating dtype."""
    return request.param


@pytest.fixture
def backend(xp_name: str, dtype: str) -> Backend:
    """Every backend of the fixture in both precisions."""
    return make_backend(xp_name, dtype)


@pytest.fixture
def backend64(xp_name: str) -> Backend:
    """Every backend of the fixture in float64."""
    return make_backend(xp_name, "float64")


@pytest.fixture
def xp(backend: Backend):
    """The namespace of `backend`."""
    return backend.xp
