"""What the text of a compiled XLA program says of its operations: kind, work, source line."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from segjax.ops.forms import QUESTIONS


class Operation(NamedTuple):
    """An operation of a compiled program.

    Attributes:
      name: unique in its program, such as "add_multiply_fusion.3"; profiles name it so.
      kind: the opcode, "convolution"; of a fusion also the name without its number.
      multiply_adds: of its products and convolutions, those on padding included.
      source: the innermost line of the package that it comes from, "ops/conv.py:12"; "" where
        the program does not say. Of a convolution's form also its question and name.
    """

    name: str
    kind: str
    multiply_adds: int
    source: str


class _Line(NamedTuple):
    """An instruction as it is written."""

    name: str
    shape: str
    opcode: str
    operands: list[str]
    rest: str


_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<shape>\(.*?\)|\S+) (?P<opcode>[\w-]+)\("
)
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.-]+) \(.*\{$")


def operations(text: str, *, package: str = "/segjax/") -> dict[str, Operation]:
    """Returns the operations of a program by name, without those inside fusions."""
    computations, frames = _computations(text), _Frames(text)
    found, fused = {}, _fused(computations)
    for computation, lines in computations.items():
        if computation in fused:
            continue
        shapes = {line.name: line.shape for line in lines}
        for line in lines:
            work = _work(line, shapes)
            if line.opcode == "fusion":
                inner = computations[_called(line)]
                within = {each.name: each.shape for each in inner}
                work = sum(_work(each, within) for each in inner)
            source = " ".join(
                filter(None, (frames.source(line.rest, package), _form_name(line)))
            )
            found[line.name] = Operation(line.name, _kind(line), work, source)
    return found


def counts(text: str) -> Counter[str]:
    """Returns how often each opcode stands in a program, those inside fusions included."""
    return Counter(line.opcode for lines in _computations(text).values() for line in lines)


def distinct_fusions(text: str) -> int:
    """Returns how many different fusions a program has; XLA compiles equal ones once."""
    computations = _computations(text)
    return len({_form(computations[name]) for name in _fused(computations)})


def _form(lines: list[_Line]) -> tuple:
    """Returns a computation without the names that it gives, and without source lines."""
    places = {line.name: place for place, line in enumerate(lines)}
    forms = []
    for line in lines:
        operands = tuple(places.get(name, -1) for name in line.operands)
        rest = re.sub(r"metadata=\{[^}]*\}|(to_apply|calls)=%?[\w.-]+", "", line.rest)
        forms.append((line.shape, line.opcode, operands, rest))
    return tuple(forms)


def _fused(computations: dict[str, list[_Line]]) -> set[str]:
    """Returns the names of the computations that fusions consist of."""
    lines = (line for each in computations.values() for line in each)
    return {_called(line) for line in lines if line.opcode == "fusion"}


def dimensions(shape: str) -> list[int]:
    """Returns the sizes of an array's shape.

    >>> dimensions("f32[3,3,64]{2,1,0}"), dimensions("f32[]")
    ([3, 3, 64], [])
    """
    inside = shape.partition("[")[2].partition("]")[0]
    return [int(size) for size in inside.split(",") if size]


def _computations(text: str) -> dict[str, list[_Line]]:
    found: dict[str, list[_Line]] = {}
    lines: list[_Line] = []
    for raw in text.splitlines():
        if opened := _COMPUTATION.match(raw):
            lines = found.setdefault(opened["name"], [])
        elif match := _INSTRUCTION.match(raw):
            inside = _parenthesis(raw, match.end())
            operands = re.findall(r"%([\w.-]+)", inside)
            rest = raw[match.end() + len(inside) :]
            lines.append(_Line(match["name"], match["shape"], match["opcode"], operands, rest))
    return found


def _parenthesis(text: str, start: int) -> str:
    """Returns what stands from `start` to the parenthesis that closes it."""
    depth = 1
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return text[start:place]
    return text[start:]


def _called(line: _Line) -> str:
    match = re.search(r"calls=%?([\w.-]+)", line.rest)
    return match[1] if match else ""


def _form_name(line: _Line) -> str:
    """Returns which form of a convolution an operation belongs to, "(value, taps)", or ""."""
    names = re.findall(rf"(?:{'|'.join(QUESTIONS)}), \w+", line.rest)
    return f"({names[-1]})" if names else ""


def _kind(line: _Line) -> str:
    if line.opcode != "fusion":
        return line.opcode
    return re.sub(r"[.\d]+$", "", line.name)


def _work(line: _Line, shapes: dict[str, str]) -> int:
    """Returns the multiply-adds of a product or a convolution."""
    if line.opcode == "dot":
        left = dimensions(shapes[line.operands[0]])
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line.rest)
        axes = [int(axis) for axis in contracted[1].split(",") if axis] if contracted else []
        return math.prod(dimensions(line.shape)) * math.prod(left[axis] for axis in axes)
    if line.opcode == "convolution":
        kernel = dimensions(shapes[line.operands[1]])
        labels = re.search(r"dim_labels=\w+_(\w+)->", line.rest)
        assert labels is not None, line
        taps = math.prod(
            size for size, axis in zip(kernel, labels[1], strict=True) if axis != "o"
        )
        return math.prod(dimensions(line.shape)) * taps
    return 0


class _Frames:
    """The tables of source lines at the head of a program."""

    def __init__(self, text: str):
        tables = {
            name: dict(_table(text, name))
            for name in ("FileNames", "FileLocations", "StackFrames")
        }
        number = lambda row, name: int(re.search(rf"\b{name}=(\d+)", row)[1])  # type: ignore[index]
        self._lines = {
            key: (
                tables["FileNames"][number(row, "file_name_id")].strip('"'),
                number(row, "line"),
            )
            for key, row in tables["FileLocations"].items()
        }
        self._frames = {
            # The number of a frame's parent is written one too high.
            key: (number(row, "file_location_id"), number(row, "parent_frame_id") - 1)
            for key, row in tables["StackFrames"].items()
        }

    def source(self, metadata: str, package: str) -> str:
        """Returns the innermost line of a package, or the innermost line of all."""
        if direct := re.search(r'source_file="([^"]*)" source_line=(\d+)', metadata):
            return f"{direct[1].rpartition(package)[2]}:{direct[2]}"
        match = re.search(r"stack_frame_id=(\d+)", metadata)
        frame = int(match[1]) if match else 0
        innermost = ""
        while frame in self._frames:
            location, frame = self._frames[frame]
            path, line = self._lines[location]
            if package in path:
                return f"{path.rpartition(package)[2]}:{line}"
            innermost = innermost or f"{path.rpartition('/')[2]}:{line}"
        return innermost


def _table(text: str, name: str) -> Iterator[tuple[int, str]]:
    """Yields number and contents of the rows of a table at the head of a program."""
    inside = text.partition(f"\n{name}\n")[2]
    for row in inside.splitlines():
        match = re.match(r"(\d+) (.*)", row)
        if match is None:
            return
        yield int(match[1]), match[2]
