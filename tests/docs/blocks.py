"""Fenced code blocks of a Markdown page, and what each needs to run as a test.

A page says it in a comment before the block, which neither GitHub nor the site shows:

    <!-- test: fixture=my_data set="steps=2 batch_size=2" -->

* `fixture=NAME,…`: the scenes of `scenes.py` that the block finds in its folder.
* `needs=VOC,…`: real data. Without `SEGJAX_DATA` the block is skipped; with it, `/data/`
  becomes that folder.
* `set="FIELD=VALUE …"`: what makes it small. `segjax.launch` gets each as `--set`; in Python
  the keyword argument of that name gets the value.
* `exit=N`: the exit status that commands end with, instead of 0.
* `save=FILE`: the reader saves the block as this file; it is not run by itself.
* `parse`: it cannot run here. Commands must be accepted by their parsers, imports must resolve.
* `output`: a text block with lines of the output of the block before it, in this order; `…`
  stands for anything.
* `numbers`: with `output`: numbers stand for any numbers. For the output of a full run, which
  `set` makes small here.
* `shown`: a text block that no test compares: a drawing, or the output of a block that does not
  run here.

Each text block is `output` or `shown`: text that nothing marks becomes stale unseen.

`runpy.run_path` reads this file.
"""

import dataclasses
import pathlib
import re
import shlex
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
LANGUAGES = {"bash", "python", "text", "json"}
FLAGS = {"parse", "output", "numbers", "shown"}
RUN = {"bash", "python"}
OPTIONS = {"fixture", "needs", "set", "exit", "save"}
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w+-]*)(?P<rest>.*)$")
DIRECTIVE = re.compile(r"^ *<!-- test:(?P<words>.*?)-->\s*$")
DATA = {"VOC": "VOCdevkit", "CamVid": "camvid", "ISBI": "isbi2012"}
"""Real data that a block may need, and its folder below `SEGJAX_DATA`."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its page and first line, language, text, and what its comment says."""

    page: str
    line: int
    language: str
    text: str
    flags: frozenset[str] = frozenset()
    options: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page}:{self.line}"

    def names(self, option: str) -> list[str]:
        """Returns the names that an option lists."""
        return [name for name in self.options.get(option, "").split(",") if name]


def pages(root: pathlib.Path = ROOT) -> list[pathlib.Path]:
    """Returns the README and every page of the documentation."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def read(path: pathlib.Path, root: pathlib.Path = ROOT) -> list[Block]:
    """Returns the blocks of a page.

    Raises:
      ValueError: a block has no language or one that is not known, a comment says what is not
        known or stands before no block, a text block is neither `output` nor `shown`, or an
        output follows no block that runs.
    """
    page, lines = (
        path.relative_to(root).as_posix(),
        path.read_text(encoding="utf-8").split("\n"),
    )
    blocks, directive, number = [], None, 0
    while number < len(lines):
        line, number = lines[number], number + 1
        if (said := DIRECTIVE.match(line)) is not None:
            if directive is not None:
                raise ValueError(f"{page}:{number}: a second comment before the same block.")
            directive = _directive(said["words"], f"{page}:{number}")
        elif (fence := FENCE.match(line)) is not None:
            first = number + 1
            while number < len(lines) and lines[number].strip() != fence["ticks"]:
                number += 1
            text = textwrap.dedent("\n".join(lines[first - 1 : number])) + "\n"
            number += 1
            _check_language(fence["language"], f"{page}:{first - 1}")
            flags, options = directive or (frozenset(), {})
            block = Block(page, first, fence["language"], text, flags, options)
            blocks.append(_checked(block, [b for b in blocks if b.language in RUN]))
            directive = None
        elif line.strip() and directive is not None:
            raise ValueError(
                f"{page}:{number}: a test comment must stand right before a block."
            )
    if directive is not None:
        raise ValueError(f"{page}: a test comment at the end stands before no block.")
    return blocks


def indented_code(path: pathlib.Path) -> list[int]:
    """Returns the lines at which code is indented instead of fenced: no test would read it."""
    found, fence, previous, inside = [], None, "", False
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        opened = FENCE.match(line)
        if fence is not None:
            fence = None if line.strip() == fence else fence
        elif opened is not None:
            fence = opened["ticks"]
        elif line.startswith("    ") and line.strip() and not previous.strip() and not inside:
            found.append(number)
        if line.strip() and not line.startswith(" "):  # A list's text may be indented.
            inside = re.match(r"([*+-]|\d+\.|!!!|\?\?\?\+?|===) ", line) is not None
        previous = line
    return found


def _directive(words: str, place: str) -> tuple[frozenset[str], dict[str, str]]:
    flags, options = set(), {}
    for word in shlex.split(words):
        name, equals, value = word.partition("=")
        known = OPTIONS if equals else FLAGS
        if name not in known:
            listed = ", ".join(sorted(known))
            raise ValueError(f"{place}: the tests do not know {word!r}; they know {listed}.")
        if equals:
            options[name] = value
        else:
            flags.add(name)
    return frozenset(flags), options


def _check_language(language: str, place: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(
            f"{place}: the language of a block is one of {', '.join(sorted(LANGUAGES))}, "
            f"not {language!r}."
        )


def _checked(block: Block, before: list[Block]) -> Block:
    """Returns the block; `before` are those of the page that are code."""
    if unknown := set(block.names("needs")) - set(DATA):
        raise ValueError(f"{block.place}: needs={unknown.pop()} is none of {', '.join(DATA)}.")
    if block.language != "text" and block.flags & {"output", "numbers", "shown"}:
        raise ValueError(f"{block.place}: only a text block can be the output of another.")
    if block.language in ("text", "json") and (block.options or "parse" in block.flags):
        raise ValueError(f"{block.place}: a block of {block.language} is not run.")
    if block.language == "text" and len(block.flags & {"output", "shown"}) != 1:
        raise ValueError(
            f"{block.place}: say `test: output`, and the text is compared with what the block "
            "before it prints, or `test: shown`, and it is not."
        )
    if "numbers" in block.flags and "output" not in block.flags:
        raise ValueError(f"{block.place}: `numbers` says how an `output` is compared.")
    if "output" in block.flags and not (before and _prints(before[-1])):
        raise ValueError(f"{block.place}: no block that runs stands before this output.")
    return block


def _prints(block: Block) -> bool:
    return "parse" not in block.flags and "save" not in block.options
