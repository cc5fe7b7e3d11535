"""Exception types. Each message states the argument, what it must be, what it was, and the remedy."""

from rfnumeric.spelling import visible


class RFNumericError(Exception):
    """Base class of every error that rfnumeric raises on purpose.

    Control characters, which a message may have from a server, a file name or a file, show as escapes.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class BackendError(RFNumericError, ImportError):
    """An array library or a device that was asked for is not usable here."""


class DataError(RFNumericError, ValueError):
    """A data file is missing, damaged, mislabelled or hostile."""


class CheckpointError(RFNumericError, ValueError):
    """A checkpoint is damaged or belongs to a run with other settings."""


class OutputError(RFNumericError, OSError):
    """A file or folder cannot be written, or holds what another run has written or is writing."""


class ConvergenceError(RFNumericError, ArithmeticError):
    """A method that was named cannot give the result; the message names one that can."""


class PluginError(RFNumericError, ImportError):
    """A rule or a data set of another package cannot be used."""
