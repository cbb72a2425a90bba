"""What the reference needs to know of the code: doctests, Flax's dataclasses, variants.

An extension of griffe, which reads the code for the site without importing it.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*\n?(?:^.+\n?)*", re.MULTILINE)
VARIANT = re.compile(r"^(?:functools\.)?partial\((?P<of>\w+)")
LINEN = "flax.linen.Module"


class Docstrings(griffe.Extension):
    """Shows doctests as code, Linen modules with their fields, and variants of a class."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Changes an object's docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
        elif obj.is_attribute and obj.parent.is_module and not obj.name.startswith("_"):
            variant = VARIANT.match(str(obj.value))
            if variant is not None:
                words = f"`{variant['of']}` with these fields set."
                obj.docstring = griffe.Docstring(words, parent=obj)

    def on_package(self, *, pkg: Any, **_: Any) -> None:
        """Marks Linen modules as what they are, dataclasses: then their fields are shown."""
        waiting, modules, found = list(_classes(pkg)), {LINEN, "flax.linen.module.Module"}, True
        while found:  # A class may come before the one that it derives from.
            found = [cls for cls in waiting if modules & {_path(base) for base in cls.bases}]
            waiting = [cls for cls in waiting if cls not in found]
            for cls in found:
                modules.add(cls.path)
                name = griffe.ExprName("dataclasses.dataclass")
                cls.decorators.append(griffe.Decorator(name, lineno=None, endlineno=None))


def fenced(text: str) -> str:
    """Returns a docstring with a fence around each doctest, up to the line that ends it."""
    return DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)


def _classes(parent: Any) -> Iterator[Any]:
    for member in parent.members.values():
        if not member.is_alias and (member.is_module or member.is_class):
            if member.is_class:
                yield member
            yield from _classes(member)


def _path(base: Any) -> str:
    return getattr(base, "canonical_path", str(base))
