r"""The papers' mathematics in statements: a small part of TeX, as text for the terminal and as MathML for the page.

Between dollar signs ``_`` and ``^`` take the next character or a group in braces; ``\hat{}``, ``\text{}`` and
``\bar{}`` are known; every other symbol is written as itself (σ, ⊗, ⁻).
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, field

SUPERSCRIPTS = dict(zip("0123456789+-=()ijklmnrTtx*", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱʲᵏˡᵐⁿʳᵀᵗˣ*", strict=True))
SUBSCRIPTS = dict(zip("0123456789+-=()aehijklmnoprstx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜₓ", strict=True))
ACCENTS = {"hat": ("\u0302", "^"), "bar": ("\u0304", "¯")}
OPERATORS = set("+-=<>≤≥≠≈∝→←∈∉∩⊂⊄⊗∘·×/,;:|‖()[]∑∏∂∇⋯…−±")


@dataclass
class Node:
    """A piece of a formula: a symbol, a row of pieces, or a piece with an accent; either may carry scripts."""

    kind: str
    text: str = ""
    children: list[Node] = field(default_factory=list)
    sub: Node | None = None
    sup: Node | None = None


def segments(source: str) -> list[tuple[bool, str]]:
    """Split a text at its dollar signs into (is mathematics, content).

    Raises
    ------
    ValueError
        If a dollar sign is not closed.
    """
    parts = source.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"text must have an even number of dollar signs; got {source!r}.")
    return [(k % 2 == 1, part) for k, part in enumerate(parts) if part]


def parse(source: str) -> Node:
    """Parse one formula.

    Raises
    ------
    ValueError
        If a brace is not closed, a script has no base, or a command is unknown.
    """
    tokens = re.findall(r"\\[a-z]+|\\[{}]|[a-zA-Z]|\d+(?:\.\d+)?|\s+|.", source)
    row, rest = _row(tokens, 0, source)
    if rest != len(tokens):
        raise ValueError(f"brace closed that was not opened in {source!r}.")
    return row


def _row(tokens: list[str], i: int, source: str) -> tuple[Node, int]:
    row = Node("row")
    while i < len(tokens) and tokens[i] != "}":
        if tokens[i] in "_^":
            if not row.children or i + 1 >= len(tokens):
                raise ValueError(f"a script needs a base and a content in {source!r}.")
            script, j = _atom(tokens, i + 1, source)
            if tokens[i] == "_":
                row.children[-1].sub = script
            else:
                row.children[-1].sup = script
            i = j
        elif tokens[i].isspace():
            i += 1
            row.children.append(Node("space", " "))
        else:
            atom, i = _atom(tokens, i, source)
            row.children.append(atom)
    return row, i


def _atom(tokens: list[str], i: int, source: str) -> tuple[Node, int]:
    token = tokens[i]
    if token == "{":
        row, j = _row(tokens, i + 1, source)
        if j >= len(tokens):
            raise ValueError(f"brace opened that is not closed in {source!r}.")
        return row, j + 1
    if token in ("\\{", "\\}"):
        return Node("operator", token[1]), i + 1
    if token == "\\text":
        row, j = _atom(tokens, i + 1, source)
        return Node("text", "".join(_plain(child) for child in row.children)), j
    if token[1:] in ACCENTS and token[0] == "\\":
        base, j = _atom(tokens, i + 1, source)
        return Node("accent", token[1:], [base]), j
    if token[0] == "\\":
        raise ValueError(f"command {token} is not known here in {source!r}.")
    return Node(_kind(token), token), i + 1


def _kind(token: str) -> str:
    if token[0].isdigit():
        return "number"
    return "operator" if token in OPERATORS else "identifier"


def plain(source: str) -> str:
    r"""Return a text with its mathematics in Unicode, for terminals.

    Examples
    --------
    >>> plain(r"With $W_{l+1}^+$ and $\text{vec} W$.")
    'With Wₗ₊₁⁺ and vec W.'
    """
    return "".join(_plain(parse(part)) if is_math else part for is_math, part in segments(source))


def _plain(node: Node) -> str:
    if node.kind == "row":
        text = "".join(map(_plain, node.children))
    elif node.kind == "accent":
        text = unicodedata.normalize("NFC", _plain(node.children[0]) + ACCENTS[node.text][0])
    else:
        text = node.text.replace("-", "−") if node.kind == "operator" else node.text
    return text + _plain_script(node.sub, SUBSCRIPTS, "_") + _plain_script(node.sup, SUPERSCRIPTS, "^")


def _plain_script(node: Node | None, table: dict[str, str], mark: str) -> str:
    if node is None:
        return ""
    text = _plain(node).replace("−", "-")
    if text and all(ch in table for ch in text):
        return "".join(table[ch] for ch in text)
    text = text.replace("-", "−")
    if text in ("′", "'"):
        return text
    return f"{mark}{text}" if len(text) == 1 else f"{mark}({text})"


def to_html(source: str) -> str:
    """Return a text as HTML with its mathematics in MathML.

    Examples
    --------
    >>> to_html("$A^+$")
    '<math><msup><mi>A</mi><mo>+</mo></msup></math>'
    """
    return "".join(
        f"<math>{_mathml_children(parse(part))}</math>" if is_math else html.escape(part)
        for is_math, part in segments(source)
    )


def _mathml_children(row: Node) -> str:
    return "".join(map(_mathml, row.children))


def _mathml(node: Node) -> str:
    if node.kind == "row":
        body = f"<mrow>{_mathml_children(node)}</mrow>" if len(node.children) != 1 else _mathml(node.children[0])
    elif node.kind == "accent":
        body = f'<mover accent="true">{_mathml(node.children[0])}<mo>{ACCENTS[node.text][1]}</mo></mover>'
    elif node.kind == "space":
        body = ""
    else:
        tag = {"number": "mn", "operator": "mo", "text": "mtext", "identifier": "mi"}[node.kind]
        text = "−" if node.text == "-" else node.text
        # A bracket is a symbol here: it must not grow with what a script hangs on it.
        fixed = ' stretchy="false"' if text in "()[]{}|‖" else ""
        body = f"<{tag}{fixed}>{html.escape(text)}</{tag}>"
    if node.sub and node.sup:
        return f"<msubsup>{body}{_mathml(node.sub)}{_mathml(node.sup)}</msubsup>"
    if node.sub:
        return f"<msub>{body}{_mathml(node.sub)}</msub>"
    return f"<msup>{body}{_mathml(node.sup)}</msup>" if node.sup else body
