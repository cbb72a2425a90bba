"""Reading pickles as inert values: nothing that a pickle names is imported, called or set.

A pickle is a program for a stack machine. Python's machine imports and calls what the program
names. The machine below knows no module and no function: a name becomes `Named`, a call becomes
`Made`, an external reference becomes `Referenced`. A program can do nothing else.
"""

import dataclasses
import pickletools
from typing import Any, BinaryIO

from segjax.errors import InputError
from segjax.pretrained.bounds import MOST_STEPS, Steps, Within


@dataclasses.dataclass(frozen=True)
class Named:
    """The name of a class or function, which is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(eq=False, repr=False, slots=True)
class Made:
    """An object that a pickle would create: the call, and the content set afterwards.

    Attributes:
      maker: what the pickle would call, mostly a `Named`.
      arguments: the arguments of the call.
      state: the state that the pickle would set on the object.
      items: the entries of a mapping.
      elements: the elements of a list or a set.
    """

    maker: Any
    arguments: Any
    state: Any = None
    items: dict = dataclasses.field(default_factory=dict)
    elements: list = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        # Values may contain one another, to any depth.
        return f"an object of {self.maker}" if isinstance(self.maker, Named) else "an object"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Referenced:
    """An object outside the pickle, given by the pickle's identifier."""

    identifier: Any


_PLAIN = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE "
    "BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
MOST_BITS = 4096
"""Bits of an integer: computing with longer ones could take for ever."""

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(stream: BinaryIO, *, references: list[Referenced] | None = None) -> Any:
    """Returns the value that the next pickle of a stream describes, and moves past it.

    Numbers, strings, bytes, lists, tuples and dicts are themselves, sets become lists, and all
    else becomes `Named`, `Made` or `Referenced`.

    Args:
      stream: a stream at the beginning of a pickle.
      references: a list to which every `Referenced` of the pickle is appended.

    Raises:
      InputError: the pickle needs buffers from outside, or has too many instructions for the
        stream's size, or an integer of too many bits.
      Exception: of any kind, if the pickle is truncated or damaged.
    """
    machine = _Machine([] if references is None else references)
    within = Within(stream)
    steps = Steps(MOST_STEPS + within.size // 256, "instructions")
    for opcode, argument, _ in pickletools.genops(within):  # type: ignore
        steps.take()
        if opcode.name == "STOP":
            break
        machine.take(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    """The machine's state: a stack, the stacks below its marks, and the memo."""

    def __init__(self, references: list[Referenced]):
        self.stack: list = []
        self._references = references
        self._below: list[list] = []
        self._memo: dict[int, Any] = {}

    def take(self, name: str, argument: Any) -> None:
        """Runs one instruction."""
        if name in _PLAIN:
            if isinstance(argument, int) and argument.bit_length() > MOST_BITS:
                raise InputError(f"its pickle has an integer of {argument.bit_length():,} bits")
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        else:
            self._take_other(name, argument)

    def _take_other(self, name: str, argument: Any) -> None:
        """Runs an instruction that is not a plain value."""
        push, pop = self.stack.append, self.stack.pop
        match name:
            case "PROTO" | "FRAME":
                pass
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING":
                # Python 2 has one type for bytes and text; pickletools reads it as Latin-1.
                push(argument.encode("latin-1").decode("utf-8", "replace"))
            case "MARK":
                self._below.append(self.stack)
                self.stack = []
            case "POP" if self.stack:
                pop()
            case "POP" | "POP_MARK":
                self._marked()
            case "DUP":
                push(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "EMPTY_LIST" | "EMPTY_SET":
                push([])
            case "EMPTY_DICT":
                push({})
            case "LIST" | "FROZENSET" | "TUPLE" | "DICT":
                found = self._marked()
                self.stack.append(_collected(name, found))
            case "APPEND":
                _extend(self.stack[-2], self._pop(1))
            case "APPENDS" | "ADDITEMS":
                found = self._marked()
                _extend(self.stack[-1], found)
            case "SETITEM":
                _update(self.stack[-3], self._pop(2))
            case "SETITEMS":
                found = self._marked()
                _update(self.stack[-1], found)
            case "GLOBAL":
                push(Named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                push(_named(*self._pop(2)))
            case "EXT1" | "EXT2" | "EXT4":
                push(Named("copyreg", f"extension {argument}"))
            case "REDUCE" | "NEWOBJ":
                push(Made(*self._pop(2)))
            case "NEWOBJ_EX":
                maker, arguments, keywords = self._pop(3)
                push(Made(maker, arguments, state=keywords))
            case "INST":
                found = self._marked()
                self.stack.append(Made(Named(*argument.split(" ", 1)), tuple(found)))
            case "OBJ":
                maker, *found = self._marked()
                self.stack.append(Made(maker, tuple(found)))
            case "BUILD":
                state = pop()
                if isinstance(self.stack[-1], Made):
                    self.stack[-1].state = state
            case "PERSID" | "BINPERSID":
                self._references.append(Referenced(pop() if name[0] == "B" else argument))
                push(self._references[-1])
            case _:
                raise InputError(f"its pickle has {name}, which torch.save never writes")

    def _pop(self, count: int) -> list:
        """Returns the last `count` values and removes them from the stack."""
        if count > len(self.stack):
            raise InputError("its pickle takes more values than it has; it is damaged")
        at = len(self.stack) - count
        found, self.stack[at:] = self.stack[at:], []
        return found

    def _marked(self) -> list:
        """Returns all values above the last mark, and removes them and the mark."""
        found, self.stack = self.stack, self._below.pop()
        return found


def _named(module: Any, name: Any) -> Named:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise InputError("its pickle names a class by another value than text; it is damaged")
    return Named(module, name)


def _collected(name: str, values: list) -> Any:
    if name == "TUPLE":
        return tuple(values)
    if name == "DICT":
        found = {}
        _update(found, values)
        return found
    return values


def _extend(target: Any, values: list) -> None:
    (target.elements if isinstance(target, Made) else target).extend(values)


def _update(target: Any, values: list) -> None:
    entries = target.items if isinstance(target, Made) else target
    # Nested tuples can take forever to hash, so such keys are described instead.
    entries.update(
        (key if isinstance(key, str | int | float | bytes | Named | None) else Made(key, ()), v)
        for key, v in zip(values[::2], values[1::2], strict=True)
    )
