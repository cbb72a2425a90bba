"""segjax.launch in a process that kills itself at a marked point, whatever its speed.

    python killed_run.py EVENT PATTERN EXPERIMENT.py [--workdir DIR ...]

It gets SIGKILL, or the signal that the variable `KILLED_BY` names, just before the first EVENT
of Python's audit table (`import`, `os.mkdir`, `os.rename`, `os.rmdir`, ...) whose path has
PATTERN. So the moment is a place, not a time.
"""

import os
import re
import signal
import sys

from segjax import launch


def main() -> int:
    event, pattern, *arguments = sys.argv[1:]
    number = signal.Signals[os.environ.get("KILLED_BY", "SIGKILL")]
    done = []

    def kill(name: str, values: tuple) -> None:
        if name == event and not done and re.search(pattern, str(values[0])):
            done.append(name)
            os.kill(os.getpid(), number)

    sys.addaudithook(kill)
    return launch.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
