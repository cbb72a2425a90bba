"""A process that prepares a case, then runs it when told to: JSON lines in, JSON lines out."""

import json
import os
import pathlib
import select
import subprocess
from collections.abc import Mapping
from typing import Any

HERE = pathlib.Path(__file__).parent


class SideError(RuntimeError):
    """A side ended, or answered that it cannot do what it was told to."""


class SideTimeout(SideError):
    """A side has not answered in time."""


class Side:
    """A script of this folder, run by an interpreter of its own."""

    def __init__(
        self,
        python: str,
        script: str,
        *,
        threads: int | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        self.script = script
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **limits, **(environment or {})},
        )
        if threads is not None and hasattr(os, "sched_setaffinity"):
            # XLA takes as many threads as it has cores.
            cores = sorted(os.sched_getaffinity(0))[:threads]
            os.sched_setaffinity(self.process.pid, cores)

    def tell(self, **message: Any) -> None:
        """Sends a message; `answer` takes what comes back, so two sides can work at a time."""
        assert self.process.stdin is not None
        try:
            print(json.dumps(message), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise SideError(f"{self.script} ended; its message is above.") from None

    def answer(self, seconds: float | None = None) -> Any:
        """Returns what the side answers.

        Raises:
          SideTimeout: it has not after so many seconds.
          SideError: the side ended, or answers with an error.
        """
        stdout = self.process.stdout
        assert stdout is not None
        if seconds is not None and not select.select([stdout], [], [], max(seconds, 0))[0]:
            raise SideTimeout(f"{self.script} gave no answer in {seconds:.0f} s.")
        line = stdout.readline()
        if not line:
            raise SideError(f"{self.script} ended; its message is above.")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise SideError(answer["error"])
        return answer

    def ask(self, seconds: float | None = None, **message: Any) -> Any:
        """Returns the answer to a message; raises as `answer`."""
        self.tell(**message)
        return self.answer(seconds)

    def close(self) -> None:
        """Ends the process, after its present work."""
        self.process.communicate()

    def kill(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.communicate()
