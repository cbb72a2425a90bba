"""The text of `explain conv`: the formula with its numbers, the matrix, the arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

from segjax.explain.conv_geometry import COLUMNS, LETTERS, ROWS, SIDE, procedure_arrays

WIDTH = 96
"""Largest number of characters in a line."""


def text(result: Mapping[str, Any]) -> str:
    """Returns what `explain conv` found as sizes, matrix and numbers."""
    options = [f"{name} {result[name]}" for name in ("stride", "padding", "dilation")]
    if result["transposed"]:
        options.append(f"output padding {result['output_padding']}")
    name = "Transposed convolution" if result["transposed"] else "Convolution"
    title = f"{name}: {by(result['input'])} input, {by(result['kernel'])} kernel"
    numbers = _scatter if result["transposed"] else _gather
    sections = [
        [title, ", ".join(options)],
        ["Sizes", *_sizes(result)],
        ["Matrix", *_matrix(result)],
        ["Example", *(numbers(result) if result["numbers"] else [_too_large()])],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections)


def by(shape: Sequence[int]) -> str:
    """Returns a shape in words.

    >>> by([4, 6])
    '4 x 6'
    """
    return " x ".join(str(side) for side in shape)


def _sizes(result: Mapping[str, Any]) -> list[str]:
    """Returns the formulas, for each axis if the two differ."""
    names = ("input", "kernel", "extent", "output", "unread")
    axes = [tuple(result[name][axis] for name in names) for axis in (0, 1)]
    if axes[0] == axes[1]:
        return _axis_sizes(result, axes[0])
    return [
        line
        for name, axis in zip(("height", "width"), axes, strict=True)
        for line in (f"  {name}", *("  " + line for line in _axis_sizes(result, axis)))
    ]


def _axis_sizes(result: Mapping[str, Any], axis: tuple[int, ...]) -> list[str]:
    n, k, extent, output, unread = axis
    s, p, d, o = (result[name] for name in ("stride", "padding", "dilation", "output_padding"))
    lines = [f"  kernel's extent  e = d (k - 1) + 1 = {d} * ({k} - 1) + 1 = {extent}"]
    if result["transposed"]:
        formula, numbers = "(n - 1) s - 2p + e", f"({n} - 1) * {s} - 2 * {p} + {extent}"
        if o:
            formula, numbers = f"{formula} + o", f"{numbers} + {o}"
        lines.append(f"  output           {formula} = {numbers} = {output}")
    else:
        numbers = f"floor(({n} + 2 * {p} - {extent}) / {s}) + 1"
        lines.append(f"  output           floor((n + 2p - e) / s) + 1 = {numbers} = {output}")
    if unread:
        lines.append(
            f"  The division has remainder {unread}: no output reads the last {unread} of the "
            f"{n + 2 * p} padded pixels."
        )
        lines.append(f"  The transpose gives {n} again with output padding {unread}.")
    return lines


def _matrix(result: Mapping[str, Any]) -> list[str]:
    matrix = result["matrix"]
    rows, columns, entries = (matrix[n] for n in ("rows", "columns", "kernel_entries"))
    small, large = ("input", "output") if result["transposed"] else ("output", "input")
    lines = [
        f"  C has {rows} rows ({by(result[small])} {small}s) and {columns} columns "
        f"({by(result[large])} {large}s);",
        f"  {entries} of its {rows * columns} entries "
        f"({100 * entries / (rows * columns):.3g} %) come from the kernel, the others are 0.",
    ]
    if result["transposed"]:
        lines[:0] = [
            "  A convolution is a product with a matrix, y = C x. Its transpose is the product",
            "  with C^T: it gives the shape of x, not its values.",
        ]
    else:
        lines[:0] = [
            "  With the rows of input and output written one after another, output = C input."
        ]
    if matrix["taps"] is None:
        return [
            *lines,
            f"  (Not printed: it has more than {ROWS} rows or {COLUMNS} columns, or the kernel",
            "  is larger than 7 x 7.)",
        ]
    return [*lines, "", *_letters(result["kernel"]), "", *_rows_of_letters(result)]


def _letters(kernel: Sequence[int]) -> list[str]:
    """Returns the kernel with a letter for each entry."""
    height, width = kernel
    rows = [LETTERS[row * width : (row + 1) * width] for row in range(height)]
    return [
        f"  {'kernel' if row == 0 else '':12}" + " ".join(names)
        for row, names in enumerate(rows)
    ]


def _rows_of_letters(result: Mapping[str, Any]) -> list[str]:
    """Returns C, or C^T for a transposed convolution: a row for each output."""
    taps = result["matrix"]["taps"]
    if result["transposed"]:
        taps = [list(column) for column in zip(*taps, strict=True)]
    height, width = result["input"]
    cells = " | ".join(
        f"row {row}".ljust(2 * width - 1)[: 2 * width - 1] for row in range(height)
    )
    if width < 3:
        cells = " | ".join(str(row).ljust(2 * width - 1) for row in range(height))
    lines = [f"  {'C^T' if result['transposed'] else 'C':4}{'input':8}{cells}".rstrip()]
    for output, row in enumerate(taps):
        names = [LETTERS[tap - 1] if tap else "." for tap in row]
        groups = [" ".join(names[i * width : (i + 1) * width]) for i in range(height)]
        y, x = divmod(output, result["output"][1])
        lines.append(f"  out {f'{y},{x}':8}" + " | ".join(groups))
    return lines


def _gather(result: Mapping[str, Any]) -> list[str]:
    numbers = result["numbers"]
    padded = "input, padded" if result["padding"] else "input"
    real = _real(result)[-1]
    products = [
        (v, w)
        for image_row, kernel_row in zip(
            numbers["padded"][:: result["dilation"]], numbers["kernel"], strict=False
        )
        for v, w in zip(image_row[:: result["dilation"]], kernel_row, strict=False)
    ]
    first = " + ".join(f"{short(v)}*{short(w)}" for v, w in products)
    lines = _beside(
        (padded, _cells(numbers["padded"], real)),
        ("kernel", _cells(numbers["kernel"])),
        ("output", _cells(numbers["output"])),
    )
    if len(first) <= WIDTH - 20:
        lines += ["", f"  output 0,0 = {first} = {short(numbers['output'][0][0])}"]
    if result["padding"]:
        lines += ["", "  A dot is a zero of the padding."]
    return [*lines, "", *_checks(numbers, "C input", "segjax.ops.conv.conv2d")]


def _scatter(result: Mapping[str, Any]) -> list[str]:
    numbers, padding = result["numbers"], result["padding"]
    _, between, padded = _real(result)
    stride, dilation, extra = (result[n] for n in ("stride", "dilation", "output_padding"))
    borders = [extent - 1 - padding for extent in result["extent"]]
    border = by(borders) if borders[0] != borders[1] else str(borders[0])
    more = f", and {extra} more at the bottom and right" if extra else ""
    if min(borders) < 0:
        more += " (a negative number: crop)"
    lines = _beside(("input", _cells(numbers["input"])), ("kernel", _cells(numbers["kernel"])))
    lines += [
        "",
        f"  1. Put s - 1 = {stride - 1} zeros between neighbours (a dot is an inserted zero).",
    ]
    lines += _beside(("", _cells(numbers["with_zeros_between"], between)))
    lines += ["", f"  2. Put d (k - 1) - p = {border} zeros on each side{more}."]
    lines += _beside(("", _cells(numbers["padded"], padded)))
    lines += ["", "  3. Flip the kernel up-down and left-right."]
    lines += _beside(("", _cells(numbers["flipped_kernel"])))
    lines += ["", f"  4. Convolve with stride 1, dilation {dilation}, without padding."]
    lines += _beside(("", _cells(numbers["output"])))
    fewer = f" ({extra} fewer at the end)" if extra else ""
    lines += [
        "",
        "  The columns of C^T say the same: each input times the kernel is added to the",
        f"  output, s = {stride} pixels apart; then p = {padding} rows and columns are cropped "
        f"on each side{fewer}.",
    ]
    return [
        *lines,
        "",
        *_checks(numbers, "C^T input", "segjax.ops.transposed.conv_transpose2d"),
    ]


def _real(result: Mapping[str, Any]) -> list[Any]:
    import numpy as np

    return [marks > 0 for marks in procedure_arrays(result, np.ones(result["input"]))]


def _checks(numbers: Mapping[str, Any], product: str, operation: str) -> list[str]:
    said = {True: "yes", False: "NO"}
    return [
        f"  Equal to {product}: {said[numbers['equals_matrix_product']]}.",
        f"  Equal to {operation}: {said[numbers['equals_operation']]}.",
    ]


def _too_large() -> str:
    return f"  (No example: an array has more than {SIDE} x {SIDE} values, zeros included.)"


def _cells(values: Sequence[Sequence[float]], real: Any = None) -> list[str]:
    """Returns the rows of an array, with dots for inserted zeros."""
    words = [
        [short(v) if real is None or real[y][x] else "." for x, v in enumerate(row)]
        for y, row in enumerate(values)
    ]
    width = max(len(word) for row in words for word in row)
    return [" ".join(word.rjust(width) for word in row) for row in words]


def short(value: float) -> str:
    """Returns a number with at most five digits.

    >>> short(0.0625), short(12)
    ('0.0625', '12')
    """
    return str(int(value)) if value == int(value) else f"{value:.5g}"


def _beside(*blocks: tuple[str, list[str]]) -> list[str]:
    """Returns arrays with titles side by side, or one above another if that is too wide."""
    widths = [max(len(title), len(rows[0])) for title, rows in blocks]
    if max(widths) > WIDTH - 4:
        return ["    (too wide to print; --json has it)"]
    if sum(widths) + 4 * len(widths) > WIDTH:
        return [line for block in blocks for line in _beside(block)]
    columns = [[title, *rows] if any(t for t, _ in blocks) else rows for title, rows in blocks]
    return [
        "    "
        + "    ".join(
            (column[i] if i < len(column) else "").ljust(width)
            for column, width in zip(columns, widths, strict=True)
        ).rstrip()
        for i in range(max(map(len, columns)))
    ]
