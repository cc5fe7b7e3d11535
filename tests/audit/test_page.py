"""The page: self-contained, complete, and alive in a real browser at two widths, light and dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from rfnumeric.audit import Measured, all_claims, run_audit
from rfnumeric.audit.claim import FAILS, HOLDS
from rfnumeric.audit.figures import Curve, Figure
from rfnumeric.audit.page import page
from rfnumeric.audit.report import document
from rfnumeric.audit.run import Result

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IDS = ["P03", "P04", "C01", "J07", "J12", "R02", "R07", "T02", "G05", "N04", "W01", "W04"]


@pytest.fixture(scope="module")
def results():
    return run_audit(IDS, seed=1)


@pytest.fixture(scope="module")
def text(results):
    return page(results, document(results, {"seed": 1, "dtype": "float64", "backend": "numpy", "device": None}))


class Elements(HTMLParser):
    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self):
        super().__init__()
        self.seen, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(text):
    parser = Elements()
    parser.feed(text)
    assert parser.open == []
    return parser.seen


def test_page_loads_nothing(text):
    for tag, attributes in parse(text):
        assert tag not in ("link", "img", "iframe", "object", "embed")
        assert not attributes.get("src")
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", text)


def test_page_holds_every_claim_with_its_command(text, results):
    cards = {a["id"]: a for tag, a in parse(text) if tag == "article"}
    assert list(cards) == [r.claim.id for r in results]
    assert sorted(cards) == sorted(IDS)
    for r in results:
        assert f"<code>rfnumeric audit {r.claim.id} --seed 1</code>" in text
    # As many formulas as the statements and notes have, and a figure where the measurement has one.
    formulas = sum((r.claim.statement + r.claim.note).count("$") // 2 for r in results)
    assert text.count("<math>") == formulas
    assert text.count("<svg") == sum(r.measured.figure is not None for r in results) >= 4


def test_a_contradiction_is_shown(results):
    wrong = [Result(results[0].claim, Measured(results[0].claim.verdict == FAILS, "other"), 0.0)]
    found = document(wrong, {"seed": 0, "dtype": "float64", "backend": "numpy", "device": None})
    assert found["summary"]["contradicted"] == 1
    assert f"measured “{FAILS if results[0].claim.verdict == HOLDS else HOLDS}”" in page(wrong, found)


def test_hostile_text_is_escaped(results):
    bad = Result(results[0].claim, Measured(True, "<script>alert(1)</script>"), 0.0)
    found = document([bad], {"seed": 0, "dtype": "<b>", "backend": "numpy", "device": None})
    assert "<script>alert" not in page([bad], found)
    assert "<b>" not in page([bad], found).split("<footer>")[1]


def test_figures_leave_out_what_cannot_be_drawn():
    inf = float("inf")
    svg = Figure("a < b", "x", "y", [Curve("c & d", [0, 1, 2, 3], [1e-3, inf, -1.0, 1e3])], log_y=True).svg()
    assert svg.count("<circle") == 2
    assert "a &lt; b" in svg
    assert "c &amp; d" in svg
    assert "nan" not in svg
    assert Figure("t", "x", "y", [Curve("e", [0], [inf])]).svg() == ""
    # A single point has an axis of its own.
    assert "<circle" in Figure("t", "x", "y", [Curve("e", [5], [2.0])]).svg()


PROBE = """
<script>
addEventListener("load", () => {
  const cards = [...document.querySelectorAll("article")];
  const visible = () => cards.filter((a) => a.offsetParent !== null).map((a) => a.id);
  const out = { all: visible() };
  document.querySelector('button[data-verdict="fails"]').click();
  out.fails = visible();
  out.count = document.getElementById("count").textContent;
  const select = document.getElementById("section");
  select.value = "wording"; select.dispatchEvent(new Event("change"));
  out.both = visible();
  document.querySelector('button[data-verdict="open"]').click();
  out.none = visible();
  out.message = !document.getElementById("none").hidden;
  document.querySelector('button[data-verdict=""]').click();
  select.value = ""; select.dispatchEvent(new Event("change"));
  const math = document.querySelector("article math msup, article math msub").getBoundingClientRect();
  out.math = [math.width > 5, math.height > 5];
  out.wide = document.documentElement.scrollWidth > innerWidth;
  out.width = innerWidth;
  out.background = getComputedStyle(document.body).backgroundColor;
  top.document.title = JSON.stringify(out);
});
</script></body>"""


def in_browser(text, tmp_path, width, *flags):
    """Load the page in a frame of this width (a window is never narrower than 500); return what the probe saw."""
    file = tmp_path / "audit.html"
    inner = html.escape(text.replace("</body>", PROBE), quote=True)
    file.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>waiting</title>'
        f'<iframe style="border:0" width="{width}" height="800" srcdoc="{inner}"></iframe>',
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1400,900", *flags, "--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(text, results, tmp_path, width, scheme):
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    out = in_browser(text, tmp_path, width, *dark)
    verdicts = {c.id: (c.verdict, c.section) for c in all_claims()}
    shown = [r.claim.id for r in results]
    assert out["all"] == shown
    assert out["fails"] == [i for i in shown if verdicts[i][0] == FAILS]
    assert out["count"] == f"{len(out['fails'])} of {len(shown)}"
    assert out["both"] == [i for i in shown if verdicts[i] == (FAILS, "wording")]
    assert out["none"] == []
    assert out["message"]
    assert out["math"] == [True, True]
    assert not out["wide"]
    assert out["width"] == width
    light = sum(map(int, re.findall(r"\d+", out["background"])[:3])) > 384
    assert light == (scheme == "light")
