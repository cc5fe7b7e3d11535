"""rfnumeric: a reference engine for reciprocal feedback.

Neural networks trained with layer-wise Moore-Penrose pseudoinverses as feedback connections in place of
backpropagation's transposes, on NumPy, CuPy and any other array-API library. Samples are rows: where the papers write
W h, the code reads ``h @ W.T``.
"""

from rfnumeric._version import __version__

__all__ = ["__version__"]
