"""`python -m segjax.explain TOPIC ...`: text, numbers and figures about one topic.

Each topic prints text or, with `--json`, one JSON object; `--out FILE.png` draws a figure too.
Exit status: 0 done; 2 an argument is wrong, with a message of one line.
"""

import argparse
import importlib
import json
import pathlib
import sys
from collections.abc import Sequence
from types import ModuleType

from segjax.console import program
from segjax.errors import InputError, run_command
from segjax.restart import restart_as_needed

TOPICS = ("conv", "rates", "skips", "upsampling", "model", "transforms")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if arguments is None:
        restart_as_needed()
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(_parser(given).parse_args(given), given))


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Returns a parser of the topic that is asked for, or of all topics if none is.

    `rates` then starts at once, without the imports that `model` needs.
    """
    parser = argparse.ArgumentParser(
        prog=program("explain"),
        description="Explain an operation, a model or augmentations in numbers and figures.",
        epilog="Example: python -m segjax.explain rates 1 2 5 --out rates.png",
    )
    topics = parser.add_subparsers(dest="topic", required=True, metavar="TOPIC")
    for name in given[:1] if given and given[0] in TOPICS else TOPICS:
        _topic(name).add_parser(topics)
    for command in topics.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
        command.add_argument(
            "--out", type=pathlib.Path, metavar="FILE.png", help="also write a figure"
        )
    return parser


def _topic(name: str) -> ModuleType:
    """Returns the module of a topic, which has `add_parser` and `text`."""
    return importlib.import_module(f"segjax.explain.{name}")


def _run(arguments: argparse.Namespace, given: Sequence[str]) -> None:
    _check_figure(arguments.out)
    topic = _topic(arguments.topic)
    try:
        result = arguments.run(arguments)
    except InputError as error:
        raise InputError(_named(str(error), given)) from error
    except ValueError as error:
        # The operations say what is wrong with their arguments, which are the user's here.
        raise InputError(" ".join(str(error).split())) from error
    if arguments.out is not None:
        from segjax.explain.figure import save

        save(result.figure(), arguments.out)
    if arguments.json:
        print(json.dumps(result, indent=2, allow_nan=False))
        return
    print(topic.text(result).rstrip())
    if arguments.out is not None:
        print(f"\nFigure: {arguments.out}")


def _named(message: str, given: Sequence[str]) -> str:
    """Returns a message about an argument of a function with the name of the given option."""
    name, space, rest = message.partition(" ")
    option = f"--{name.replace('_', '-')}"
    is_given = any(word.partition("=")[0] == option for word in given)
    return f"{option}{space}{rest}" if is_given else message


def _check_figure(path: pathlib.Path | None) -> None:
    """Raises InputError unless a figure can have this name."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError(f"--out {path} must end in .png.")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder; choose a file in it.")


if __name__ == "__main__":
    sys.exit(main())
