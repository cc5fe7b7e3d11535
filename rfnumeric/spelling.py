r"""Texts for places that take less than Unicode: ASCII spellings of symbols, and control characters made visible.

========================  ==========================
symbol                    spelling
========================  ==========================
λ, β, Ω                   lambda, beta, Omega
≤, ≥, ≠, ≈                <=, >=, !=, ~
W⁺, 10⁻⁴, Wᵀ, W₁          W+, 10^-4, W^T, W_1
→, ←, ±, ×, ·, −, –       ->, <-, +/-, x, *, -, -
‖h‖, √v, ∑, ∞             two bars each, sqrt v, sum, inf
“ ”, ‘ ’, …               double and single quotes, ...
é, ½, 𝒟                   e, 1/2, D
lines of tables           dashes, bars and plus signs
========================  ==========================

A character that an encoding has stays as it is; one that has no spelling becomes its escape, such as \u2603.
"""

from __future__ import annotations

import re
import unicodedata

_SYMBOLS = {
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "≡": "==", "≪": "<<", "≫": ">>", "∝": "~", "≲": "<~", "≳": ">~",
    "→": "->", "←": "<-", "↔": "<->", "⇒": "=>", "⇔": "<=>", "↦": "|->", "↑": "^", "↓": "v",
    "±": "+/-", "∓": "-/+", "×": "x", "·": "*", "⋅": "*", "÷": "/", "∘": "o", "⊗": "(x)", "⊙": "(.)", "∗": "*",
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "⁄": "/", "…": "...", "⋯": "...", "⋮": ":", "⋱": "...",
    "‖": "||", "∥": "||", "∣": "|", "√": "sqrt ", "∑": "sum ", "∏": "prod ", "∫": "int ", "∞": "inf", "∂": "d",
    "∇": "grad ", "∈": " in ", "∉": " not in ", "∀": "for all ", "∃": "exists ", "∅": "{}", "∩": " and ",
    "∪": " or ", "⊂": " in ", "⊆": " in ", "∧": " and ", "∨": " or ", "⊥": "_|_", "⌊": "floor(", "⌋": ")",
    "⌈": "ceil(", "⌉": ")", "⟨": "<", "⟩": ">", "′": "'", "″": '"', "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'",
    "«": '"', "»": '"', "•": "*", "◦": "o", "✓": "yes", "✔": "yes", "✗": "no", "✘": "no", "°": " deg", "§": "section ",
    "µ": "u", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ł": "l", "Ł": "L", "đ": "d", "ı": "i", "ħ": "hbar",
    "©": "(c)", "®": "(R)", "€": "EUR", "£": "GBP", "¬": "not ", "†": "+", "‡": "++", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵀᵃᵇᶜᵈᵉᵏᵐᵖᵗˡʲʰᴴᵢ"
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₕₖₗₘₙₚₛₜᵢⱼᵣᵤᵥ"
_PIECES = re.compile(f"[{_RAISED}]+|[{_LOWERED}]+|[^\x00-\x7f]")
_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# C0 without tab and line feed, DEL, C1; other ends of a line; the byte-order mark; bytes that are no
# text, as lone surrogates; what reorders text.
_UNSEEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff{_BIDIRECTIONAL}]")


def visible(text: str) -> str:
    r"""Return `text` with its control characters, what reorders it, as escapes; tab and line feed stay.

    What a server, a file name, a data file or the environment says must not steer the terminal that shows it.

    Examples
    --------
    >>> print(visible("404 \x1b[31mgone"))
    404 \x1b[31mgone
    """
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def spell(text: str, encoding: str = "ascii") -> str:
    """Return `text` with what `encoding` lacks spelled in ASCII; the table is at the head of this file.

    Examples
    --------
    >>> spell("‖W⁺‖ ≤ λ·10⁻⁴")
    '||W+|| <= lambda*10^-4'
    >>> spell("1 µs – ½ λ", "latin-1")
    '1 µs - ½ lambda'
    """
    if _fits(text, encoding):
        return text

    def spelled(found: re.Match[str]) -> str:
        piece = found[0]
        if _fits(piece, encoding):
            return piece
        follows = text[found.end() : found.end() + 1]
        return _spelled(piece) + (" " if _is_greek(piece) and follows.isalpha() else "")

    return _PIECES.sub(spelled, text)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _is_greek(piece: str) -> bool:
    return unicodedata.name(piece[0], "").startswith("GREEK")


def _spelled(piece: str) -> str:
    if piece[0] in _SYMBOLS:
        return _SYMBOLS[piece[0]]
    if piece[0] in _RAISED and piece != "⁺":
        return "^" + _decomposed(piece)
    if piece[0] in _LOWERED:
        return "_" + _decomposed(piece)
    code, name = ord(piece[0]), unicodedata.name(piece[0], "")
    if 0x2500 <= code <= 0x257F:  # box drawing
        return {"HORIZONTAL": "-", "VERTICAL": "|"}.get(name.rpartition(" ")[2] if " AND " not in name else "", "+")
    if 0x2580 <= code <= 0x259F:  # blocks
        return "#"
    if 0x2800 <= code <= 0x28FF:  # Braille, of which spinners are made
        return "."
    return _decomposed(piece)


def _decomposed(piece: str) -> str:
    """Return the letters and digits that `piece` is made of, Greek ones by name, the rest as escapes."""
    found = []
    for character in unicodedata.normalize("NFKD", piece):
        name = unicodedata.name(character, "")
        if character.isascii():
            found.append(character)
        elif character in _SYMBOLS:
            found.append(_SYMBOLS[character])
        elif (letter := re.match(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)$", name)) is not None:
            word = "lambda" if letter[2] == "LAMDA" else letter[2].lower()
            found.append(word if letter[1] == "SMALL" else word.capitalize())
        elif not unicodedata.combining(character):
            found.append(_escape(character))
    return "".join(found)


def _escape(piece: str) -> str:
    # Bytes of a file name that are no text come as lone surrogates U+DC80 to U+DCFF.
    return "".join(
        f"\\x{ord(c) - 0xDC00:02x}"
        if 0xDC80 <= ord(c) <= 0xDCFF
        else c.encode("ascii", "backslashreplace").decode()
        if not c.isascii()
        else f"\\x{ord(c):02x}"
        for c in piece
    )
