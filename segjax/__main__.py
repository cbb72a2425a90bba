"""`python -m segjax`: lists the commands; `python -m segjax predict ...` runs one of them."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from segjax.errors import InputError, run_command
from segjax.restart import restart_as_needed

COMMANDS = {
    "launch": ("segjax.launch", "train, evaluate and report an experiment"),
    "predict": ("segjax.predict", "write masks, and more, for images, folders and videos"),
    "score": ("segjax.score", "score a folder of masks against the true ones"),
    "serve": ("segjax.serve", "open a local page to try one or more runs"),
    "export": (
        "segjax.export.__main__",
        "write a run's network as one file for other programs",
    ),
    "convert": (
        "segjax.convert.__main__",
        "write a dataset from the files of an annotation tool",
    ),
    "explain": ("segjax.explain.__main__", "show what an operation or a network really does"),
}
"""For each command, the module with its `main` and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None:
        restart_as_needed()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        # Imported only now: the list should appear at once, without loading JAX.
        module, _ = COMMANDS[given[0]]
        return importlib.import_module(module).main(given[1:])
    return run_command(lambda: _run(given))


def _run(given: Sequence[str]) -> None:
    if given and given[0] not in ("-h", "--help"):
        near = difflib.get_close_matches(given[0], COMMANDS, n=1, cutoff=0.5)
        raise InputError(
            f"There is no command {given[0]!r}; "
            + (f"did you mean {near[0]!r}? " if near else "")
            + f"The commands are {', '.join(COMMANDS)}."
        )
    width = max(map(len, COMMANDS))
    print("Image segmentation in JAX and Flax. The commands:\n")
    for name, (_, purpose) in COMMANDS.items():
        print(f"    python -m segjax.{name:{width}}  {purpose}")
    print(
        "\nEach says more with --help. `segjax-launch` and `segjax launch` do the same."
        "\nA first run: python -m segjax.launch experiments/quickstart.py"
    )


if __name__ == "__main__":
    sys.exit(main())
