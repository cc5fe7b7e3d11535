"""The version, read by the build and by every results file."""

__version__ = "0.1.0"
