"""Text and XML files of annotation tools, as they are saved on Linux, macOS and Windows."""

import pathlib
import xml.etree.ElementTree as ElementTree
from xml.parsers import expat

from segjax.data.lists import MARKS
from segjax.errors import InputError


def read_text(path: pathlib.Path) -> str:
    """Returns the contents of a UTF-8 file, or of one that begins with a byte-order mark.

    Raises:
      InputError: the file cannot be opened, or is not such text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding).replace("\ufeff", "")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}, is not UTF-8 text: save the file in the encoding UTF-8."
        ) from None


def read_lines(path: pathlib.Path) -> list[tuple[int, str]]:
    """Returns (number, text) of each line that is not blank, without spaces around the text.

    Raises:
      InputError: as `read_text`.
    """
    lines = enumerate(read_text(path).splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_xml(path: pathlib.Path) -> ElementTree.Element:
    """Returns the root element of an XML file.

    A file that declares a document type is refused, since entities can expand without limit
    and can name other files.

    Raises:
      InputError: the file cannot be opened, is cut off or otherwise not XML, or has a DOCTYPE.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(name: str, *_: object) -> None:
        raise InputError(
            f"{path} declares a document type (<!DOCTYPE {name}>), which can name other files "
            "or expand without limit: remove the declaration and its entities."
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a complete XML file ({error}): export it again."
        ) from None
    return builder.close()


def first_tag(path: pathlib.Path, *tags: str) -> str | None:
    """Returns which of some elements an XML file has first; without `tags`, its root's name.

    The file is read up to there. None: it has none of them before an error or its end.
    """
    found: list[str] = []

    def started(tag: str, _: object) -> None:
        if not tags or tag in tags:
            found.append(tag)

    parser = expat.ParserCreate()
    parser.StartElementHandler = started
    try:
        with path.open("rb") as file:
            while not found and (part := file.read(1 << 14)):
                parser.Parse(part, False)
    except (OSError, expat.ExpatError, LookupError, ValueError):
        pass
    return found[0] if found else None


def child_text(element: ElementTree.Element, path: str, *, default: str = "") -> str:
    """Returns the text at a path below an element without spaces around it, or `default`."""
    return (element.findtext(path) or "").strip() or default
