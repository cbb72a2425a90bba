"""The launcher as the tests of commands call it."""

from collections.abc import Callable

import pytest

from segjax import launch


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, str, str]]:
    """(status, what it printed, the error's line) of the launcher in this process."""

    def launched(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        status = launch.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        return status, captured.out, "\n".join(errors)

    return launched
