"""The audit as one self-contained HTML page: MathML, inline SVG, filters; no network, dark and light."""

from __future__ import annotations

import html
from importlib import resources
from typing import Any

from rfnumeric.audit.claim import SECTIONS, VERDICTS
from rfnumeric.audit.mathematics import to_html
from rfnumeric.audit.run import Result

SLUGS = dict(zip(VERDICTS, ("holds", "if", "fails", "open"), strict=True))


def page(results: list[Result], found: dict[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    results : list of Result
    found : dict
        What `rfnumeric.audit.report.document` returned for them.

    Returns
    -------
    str
        One HTML document that loads nothing.
    """
    files = resources.files("rfnumeric.audit")
    style, script = (files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    sections = [s for s in SECTIONS if any(r.claim.section == s for r in results)]
    body = "".join(_section(s, [r for r in results if r.claim.section == s]) for s in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>rfnumeric audit: {len(results)} claims</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_header(results, found)}{_filters(results, sections)}<main>{body}"
        '<p id="none" hidden>No claim has this verdict in this section.</p></main>\n'
        f"{_footer(found)}<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _header(results: list[Result], found: dict[str, Any]) -> str:
    counts = found["summary"]
    tiles = "".join(
        f'<li class="{SLUGS[v]}"><b>{counts.get(v, 0)}</b> {html.escape(v)}</li>' for v in VERDICTS if counts.get(v)
    )
    wrong = counts["contradicted"]
    state = (
        f'<p class="contradiction">{wrong} contradicted by their evidence.</p>'
        if wrong
        else "<p>No verdict is contradicted by its evidence.</p>"
    )
    return (
        "<header><h1>Reciprocal feedback, audited</h1>"
        f"<p>{len(results)} claims of two versions of one paper (v1: Cameron, Chen and Sejnowski; v2: under review), "
        f"each measured "
        f'on instances drawn for this page.</p><ul class="tiles">{tiles}</ul>{state}</header>\n'
    )


def _filters(results: list[Result], sections: list[str]) -> str:
    verdicts = [v for v in VERDICTS if any(r.claim.verdict == v for r in results)]
    buttons = "".join(
        f'<button type="button" data-verdict="{SLUGS[v]}" aria-pressed="false" class="{SLUGS[v]}">{html.escape(v)}'
        "</button>"
        for v in verdicts
    )
    options = "".join(f'<option value="{s}">{html.escape(SECTIONS[s])}</option>' for s in sections)
    return (
        '<nav aria-label="Filters"><div role="group" aria-label="Verdict">'
        f'<button type="button" data-verdict="" aria-pressed="true">all</button>{buttons}</div>'
        f'<label>Section <select id="section"><option value="">all</option>{options}</select></label>'
        f'<output id="count">{len(results)} of {len(results)}</output></nav>\n'
    )


def _section(section: str, results: list[Result]) -> str:
    cards = "".join(map(_card, results))
    return f'<section data-section="{section}"><h2>{html.escape(SECTIONS[section])}</h2>{cards}</section>\n'


def _card(result: Result) -> str:
    claim, measured = result.claim, result.measured
    slug = SLUGS[claim.verdict]
    note = f'<p class="note">{to_html(claim.note)}</p>' if claim.note else ""
    wrong = (
        ""
        if result.ok
        else f'<p class="contradiction">The evidence contradicts this: measured “{html.escape(measured.verdict)}”.</p>'
    )
    figure = f"<figure>{measured.figure.svg()}</figure>" if measured.figure else ""
    return (
        f'<article id="{claim.id}" data-verdict="{slug}"><h3><a href="#{claim.id}">{claim.id}</a> '
        f'<span class="place">{html.escape(claim.place)}</span> '
        f'<span class="verdict {slug}">{html.escape(claim.verdict)}</span></h3>'
        f'<p class="statement">{to_html(claim.statement)}</p>{note}{wrong}'
        f'<p class="evidence">{html.escape(measured.evidence)}</p>{figure}'
        f'<p class="command"><code>{html.escape(result.command)}</code></p></article>'
    )


def _footer(found: dict[str, Any]) -> str:
    env, settings = found["environment"], found["settings"]
    said = (
        f"seed {settings['seed']}, {settings['dtype']}, {settings['backend']}; rfnumeric {env['rfnumeric']}, "
        f"Python {env['python']}, NumPy {env['packages'].get('numpy', '?')}"
    )
    return f"<footer><p>{html.escape(said)}</p><p><code>{html.escape(found['command'])}</code></p></footer>\n"
