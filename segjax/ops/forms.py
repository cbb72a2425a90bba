"""Which form of a convolution is taken: by the bounds of this code, or by a table of names.

On a CPU each convolution poses three `Case`s: its value, its gradient by x and its gradient by
the kernel. For each there are several forms of equal value (`conv_forms`), and bounds on the
shapes name the default one (`conv_bounds`). Inside `chosen(names)` a table comes first: a
tuner has timed the forms on the machine at hand.

The table is part of JAX's trace context, so a function that was compiled for one table is
traced again for another one.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax

from segjax.ops.tap_matmul import TapWindow

VERSION = 6
"""Raise it when a form is added, removed, renamed or computed differently: times that were
measured before say nothing about it, and a run keeps the forms that it began with."""

VALUE, BY_X, BY_KERNEL = QUESTIONS = ("value", "gradient by x", "gradient by kernel")

Shape = tuple[int, ...]


class Case(NamedTuple):
    """One question about a convolution of `x` with a kernel.

    Attributes:
      question: one of `QUESTIONS`.
      shape: of x, b h w c.
      kernel_shape: h w i o.
      window: the kernel's movement.
    """

    question: str
    shape: Shape
    kernel_shape: Shape
    window: TapWindow

    def __str__(self) -> str:
        """Returns the case in words, the same for the same case: the key of a table."""
        times = lambda numbers: "x".join(map(str, numbers))
        (top, bottom), (left, right) = self.window.pads
        groups = f", {self.window.groups} groups" if self.window.groups > 1 else ""
        return (
            f"{self.question} of {times(self.shape)} by {times(self.kernel_shape)}, stride "
            f"{times(self.window.strides)}, padding {top}+{bottom} {left}+{right}, dilation "
            f"{times(self.window.dilations)}{groups}"
        )

    @property
    def result_shape(self) -> Shape:
        """The shape of the convolution's value, b oh ow o."""
        size = lambda axis: self.window.size(
            axis, self.shape[1 + axis], self.kernel_shape[axis]
        )
        return (self.shape[0], size(0), size(1), self.kernel_shape[3])

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel has one kernel of its own."""
        return self.kernel_shape[2] == 1 and (
            self.kernel_shape[3] == self.window.groups == self.shape[3]
        )

    @property
    def is_grouped(self) -> bool:
        """Whether there are several groups, but not one for each channel."""
        return self.window.groups > 1 and not self.is_depthwise

    @property
    def flipped(self) -> "Case":
        """The value that a gradient by x at stride 1 is: of the flipped kernel."""
        (height, width, _, outputs), window = self.kernel_shape, self.window
        reach = [d * (k - 1) for d, k in zip(window.dilations, (height, width), strict=True)]
        pads = [(r - p, r - q) for r, (p, q) in zip(reach, window.pads, strict=True)]
        back = (height, width, outputs // window.groups, self.shape[3])
        moved = window._replace(pads=(pads[0], pads[1]))
        return Case(VALUE, self.result_shape, back, moved)

    @property
    def operand_shapes(self) -> tuple[Shape, Shape]:
        """The shapes of the two arrays that a form takes.

        (x, kernel) for the value, (gradient by y, kernel) for the gradient by x, and
        (x, gradient by y) for the gradient by the kernel.
        """
        first = self.result_shape if self.question == BY_X else self.shape
        second = self.result_shape if self.question == BY_KERNEL else self.kernel_shape
        return first, second


class _Names:
    """A table of forms' names by `str(case)`; hashable, as JAX's trace context needs it."""

    def __init__(self, names: Mapping[str, str]):
        self._names = dict(names)
        self._hash = hash(frozenset(self._names.items()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Names) and self._names == other._names

    def name(self, case: Case, default: Callable[[Case], str]) -> str:
        """Returns the table's name where it has the case, otherwise the default one."""
        return self._names.get(str(case)) or default(case)


class _Noting:
    """Counts the cases that are asked for; equal to nothing else, so that all are traced."""

    def __init__(self) -> None:
        self.cases: Counter[Case] = Counter()

    def name(self, case: Case, default: Callable[[Case], str]) -> str:
        """Returns the default name."""
        self.cases[case] += 1
        return default(case)


_IN_FORCE = jax.make_user_context(None)


def form_name(case: Case, default: Callable[[Case], str]) -> str:
    """Returns the name of the form to trace: the table's in force, or `default(case)`."""
    in_force = _IN_FORCE.value
    return default(case) if in_force is None else in_force.name(case, default)


def is_noting() -> bool:
    """Returns whether each case is to be traced each time that it comes, so that it counts."""
    return isinstance(_IN_FORCE.value, _Noting)


@contextlib.contextmanager
def chosen(names: Mapping[str, str]) -> Iterator[None]:
    """Traces convolutions in the block, in this thread, by a table of names.

    Args:
      names: {`str(case)`: the form's name}. Other cases take their default.
    """
    with _IN_FORCE(_Names(names) if names else None):
        yield


@contextlib.contextmanager
def noted() -> Iterator[Counter[Case]]:
    """Yields the cases that are traced in the block, in this thread, and how often each is.

    The body of a loop counts as often as it is traced, not as often as it runs.
    """
    noting = _Noting()
    with _IN_FORCE(noting):
        yield noting.cases
