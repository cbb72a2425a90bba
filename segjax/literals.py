"""Short texts of long tuples, which Python and `--set` can read back.

((0, 255), (1, 0), (2, 1), …, (150, 149))  →  ((0, 255), *zip(range(1, 151), range(150)))
"""

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from segjax.errors import InputError

SHORTEST_RUN = 5
"""From this number of items on, a run of items is written as a rule."""


MOST = 2**16
"""The most items that a rule may produce when it is read."""


def shortened(value: Any, *, width: int) -> str:
    """Returns a literal's `repr` if it fits the width; otherwise writes runs of items as rules.

    >>> shortened(tuple(range(0, 60, 3)), width=40)
    '(*range(0, 60, 3),)'
    >>> shortened((1.0,) * 30 + (2.0,), width=40)
    '(*(1.0,) * 30, 2.0)'
    """
    text = repr(value)
    if len(text) <= width or not isinstance(value, (tuple, list)):
        return text
    items = list(_items(value, width))
    if isinstance(value, list):
        return f"[{', '.join(items)}]"
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def folded(value: Any, *, width: int) -> str:
    """Returns the text of `shortened`, folded to indented lines if it is too long.

    >>> print(folded(("road", "sky", "a rather long name", "tree"), width=32))
    (
        'road', 'sky',
        'a rather long name', 'tree',
    )
    """
    text = shortened(value, width=width)
    if len(text) <= width or not isinstance(value, (tuple, list)):
        return text
    lines = [""]
    for item in _items(value, width):
        if lines[-1] and len(lines[-1]) + len(item) + 6 > width:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{item},"
    opening, closing = "()" if isinstance(value, tuple) else "[]"
    return "\n".join([opening, *(f"    {line}" for line in lines), closing])


def _items(values: Sequence[Any], width: int) -> Iterator[str]:
    """Returns the items as text; each run of at least `SHORTEST_RUN` items becomes one."""
    start = 0
    while start < len(values):
        length, text = _longest_run(values[start:])
        if length >= SHORTEST_RUN:
            yield f"*{text}"
        else:
            length = 1
            yield shortened(values[start], width=width)
        start += length


def _longest_run(values: Sequence[Any]) -> tuple[int, str]:
    """Returns (the number of leading items that follow a rule, the rule)."""
    if len(values) < SHORTEST_RUN:
        return 0, ""
    first = values[0]
    runs = [_while(values, lambda i: _same(values[i], first))]
    texts: list[Callable[[int], str]] = [lambda n: f"({first!r},) * {n}"]
    rows = first if isinstance(first, tuple) else (first,)
    seconds = values[1] if isinstance(values[1], tuple) else (values[1],)
    if len(rows) == len(seconds) and all(type(x) is int for x in (*rows, *seconds)) and rows:
        steps = [b - a for a, b in zip(rows, seconds, strict=True)]
        at = lambda i: tuple(a + i * s for a, s in zip(rows, steps, strict=True))
        expected = lambda i: at(i) if isinstance(first, tuple) else at(i)[0]
        runs.append(_while(values, lambda i: _same(values[i], expected(i))))
        texts.append(lambda n: _progression(rows, steps, n, zipped=isinstance(first, tuple)))
    best = max(range(len(runs)), key=runs.__getitem__)
    return runs[best], texts[best](runs[best])


def _while(values: Sequence[Any], fits: Callable[[int], bool]) -> int:
    return next((i for i in range(len(values)) if not fits(i)), len(values))


def _same(one: Any, other: Any) -> bool:
    """Returns whether both are equal and print alike: 1, 1.0 and True are not the same."""
    return type(one) is type(other) and one == other and repr(one) == repr(other)


def _progression(
    first: Sequence[int], steps: Sequence[int], count: int, *, zipped: bool
) -> str:
    columns = [
        _range(start, step, count) if step else f"({start},) * {count}"
        for start, step in zip(first, steps, strict=True)
    ]
    return f"zip({', '.join(columns)})" if zipped else columns[0]


def _range(start: int, step: int, count: int) -> str:
    stop = start + step * count
    if step != 1:
        return f"range({start}, {stop}, {step})"
    return f"range({start}, {stop})" if start else f"range({stop})"


def spread(node: ast.expr, value_of: Callable[[ast.expr], Any]) -> Sequence[Any] | None:
    """Returns the items after a star, or None if it is not a rule of `shortened`.

    Rules are `range(…)`, `zip(…)` of rules, `(…) * n`, and tuples, whose items `value_of`
    reads.

    Raises:
      InputError: there are too many items, or the numbers are not a valid rule.
    """
    try:
        match node:
            case ast.Call(func=ast.Name(id="range"), args=[_, *_], keywords=[]):
                found: Any = range(*map(value_of, node.args))
            case ast.Call(func=ast.Name(id="zip"), args=[_, *_], keywords=[]):
                columns = [spread(argument, value_of) for argument in node.args]
                found = None if None in columns else list(zip(*columns, strict=True))
            case ast.BinOp(
                op=ast.Mult(), left=ast.Tuple(), right=ast.Constant(value=int(n))
            ) if not isinstance(n, bool):
                items = value_of(node.left)
                # Count the items before making them.
                found = items * n if len(items) * n <= MOST else range(MOST + 1)
            case ast.Tuple() | ast.List():
                found = value_of(node)
            case _:
                found = None
        if found is not None and len(found) > MOST:
            raise OverflowError
    except InputError:
        raise
    except OverflowError as error:  # Python raises it too, for huge ranges.
        raise InputError(f"{ast.unparse(node)} stands for more than {MOST} items.") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{ast.unparse(node)}: {error}.") from error
    return found
