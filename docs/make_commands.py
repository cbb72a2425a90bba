"""Writes the page of commands from their own `--help`; a test holds the page to it.

python docs/make_commands.py docs/commands.md
"""

import contextlib
import importlib
import io
import os
import pathlib
import sys
from unittest import mock

from segjax.__main__ import COMMANDS
from segjax.explain.__main__ import TOPICS

HEAD = """# Commands

<!-- Written by `python docs/make_commands.py docs/commands.md`: edit the help instead. -->

Run a command as `python -m segjax.launch`. After an installation, `segjax-launch` and
`segjax launch` do the same, from every folder. `python -m segjax` lists all commands.

| exit status | meaning |
|---|---|
| 0 | done |
| 2 | the arguments, the experiment or the data are wrong: one line, before work starts |
| 1 | the run failed: one line, or the traceback of your own code |
| 130 | you pressed Ctrl-C |
"""

SHOWN = "<!-- test: shown -->\n"
"""Tells the tests of pages that no block before the text prints it."""


def page() -> str:
    """The page: exit statuses, then each command's help, and that of explain's topics."""
    parts = [HEAD]
    for name, (_, purpose) in COMMANDS.items():
        parts.append(f"\n## {name}\n\n{purpose[0].upper()}{purpose[1:]}.\n")
        parts.append(f"\n{SHOWN}```text\n{help_of(name)}```\n")
        for topic in TOPICS if name == "explain" else ():
            text = help_of(name, topic)
            parts.append(f"\n### explain {topic}\n\n{SHOWN}```text\n{text}```\n")
    return "".join(parts)


def help_of(name: str, *topic: str) -> str:
    """What a command prints with `--help`, 80 columns wide."""
    module, printed = importlib.import_module(COMMANDS[name][0]), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}),
        mock.patch.object(sys, "argv", ["__main__.py"]),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        module.main([*topic, "--help"])
    return printed.getvalue()


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(page(), encoding="utf-8")
