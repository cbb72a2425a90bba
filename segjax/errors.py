"""The two errors that commands turn into one line and an exit status."""


class InputError(ValueError):
    """What the user gave cannot work: arguments, an experiment's field, data (exit status 2).

    The message is one line: it names the value and the remedy.
    """


class RunError(RuntimeError):
    """A run that had begun cannot go on: disk full, loss not finite (exit status 1)."""
