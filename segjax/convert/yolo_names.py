"""Class names of a YOLO dataset: `names:` of a YAML file, or a list with one name a line."""

import pathlib
import re

from segjax.convert.documents import read_lines, read_text
from segjax.errors import InputError

_KEY = re.compile(r"""(\d+|'\d+'|"\d+")\s*:\s+(.*)""")


def yaml_names(path: pathlib.Path) -> tuple[str, ...] | None:
    """Returns the names under the key `names` in the forms in which YOLO tools write them.

    These are a list or {number: name}, in brackets or one a line. None: there is no such key.

    Raises:
      InputError: the names have another form, or their numbers are not 0, 1, 2, ….
    """
    lines = [_without_comment(line) for line in read_text(path).splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        return None
    value = lines[start].partition(":")[2].strip()
    rest = [line for line in lines[start + 1 :] if line.strip()]
    if value[:1] in ("[", "{"):
        entries = _bracketed(value, rest, path)
    elif not value:
        block = []
        for line in rest:
            if not line.startswith((" ", "\t", "-")):
                break
            block.append(line.strip())
        entries = block
    else:
        raise _refused(path, value)
    return _numbered(entries, path)


def listed_names(path: pathlib.Path) -> tuple[str, ...]:
    """Returns one name a line, as in `obj.names` and `classes.txt`.

    Raises:
      InputError: the file is not text.
    """
    return tuple(line for _, line in read_lines(path))


def _without_comment(line: str) -> str:
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (not place or line[place - 1] in " \t[{,"):
            quote = character
        elif character == "#" and line[:place][-1:] in ("", " ", "\t"):
            return line[:place].rstrip()
    return line.rstrip()


def _bracketed(value: str, rest: list[str], path: pathlib.Path) -> list[str]:
    """Returns the entries between brackets, which may close on a later line."""
    close = {"[": "]", "{": "}"}[value[0]]
    text = value
    for line in rest:
        if text.endswith(close):
            break
        text += " " + line.strip()
    if not text.endswith(close):
        raise _refused(path, value)
    inner = re.findall(r"""(?:[^,'"]|'[^']*'|"[^"]*")+""", text[1:-1])
    entries = [entry.strip() for entry in inner if entry.strip()]
    return entries if close == "}" else [f"- {entry}" for entry in entries]


def _numbered(entries: list[str], path: pathlib.Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for entry in entries:
        match = _KEY.fullmatch(entry)
        if entry.startswith("- "):
            number, text = len(names), entry[2:]
        elif match:
            number, text = int(match[1].strip("'\"")), match[2]
        else:
            raise _refused(path, entry)
        if number in names:
            raise InputError(f"{path} has two names for class {number}: keep one of them.")
        names[number] = _unquoted(text.strip(), path)
    if not names or sorted(names) != list(range(len(names))):
        raise InputError(
            f"{path} has names for the classes {sorted(names)}, not for 0, 1, 2, …: correct "
            'it, or give them all with --names "NAME,NAME".'
        )
    return tuple(names[number] for number in sorted(names))


def _unquoted(text: str, path: pathlib.Path) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    if not text or text[0] in "&*!|>%@`[{'\"":
        raise _refused(path, text)
    return text


def _refused(path: pathlib.Path, text: str) -> InputError:
    return InputError(
        f"{path} writes its class names in a form that is not read here ({text!r}): write them "
        'as a list, names: [cat, dog], or give them with --names "cat,dog".'
    )
