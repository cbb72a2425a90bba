"""`explain conv`: a convolution, or its transpose, as sizes, as a matrix and in numbers.

The transposed convolution is shown as a gather, as PyTorch describes it: put zeros between the
inputs and around them, flip the kernel, convolve. The figure shows it as a scatter too.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from segjax.errors import InputError
from segjax.explain import conv_text
from segjax.explain.conv_geometry import COLUMNS, LETTERS, ROWS, SIDE, Axis, procedure_arrays
from segjax.explain.explained import Explained
from segjax.explain.whole_numbers import whole_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 10_000
"""Largest size, kernel, stride, padding and dilation."""

Table = Sequence[Sequence[float]] | np.ndarray


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `conv`."""
    parser = subparsers.add_parser(
        "conv",
        help="a convolution or its transpose: sizes, matrix, a worked example",
        description="Explain a convolution, or with --transposed its transpose: the sizes, the "
        "matrix, and a worked example.",
        epilog='Example: python -m segjax.explain conv --transposed --input "2 3; 1 3" '
        '--kernel-values "0 1 1; 0 1 0; 1 0 1"',
    )
    parser.add_argument("--size", type=int, help="side of the input (default 4)")
    parser.add_argument("--kernel", type=int, help="side of the kernel (default 3)")
    for name, default in (
        ("stride", 1),
        ("padding", 0),
        ("dilation", 1),
        ("output-padding", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--transposed", action="store_true", help="explain the transpose")
    parser.add_argument(
        "--input", metavar="ROWS", help='values: "2 3; 1 3" or "[[2, 3], [1, 3]]"'
    )
    parser.add_argument(
        "--kernel-values", metavar="ROWS", help="values of the kernel, written as --input"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Explained:
    """Returns what the arguments ask for.

    Raises:
      InputError, ValueError: as `explain_conv`.
    """
    names = ("size", "kernel", "stride", "padding", "dilation", "output_padding")
    return explain_conv(
        **{name: getattr(arguments, name) for name in names},
        transposed=arguments.transposed,
        values=arguments.input,
        kernel_values=arguments.kernel_values,
    )


def explain_conv(
    *,
    size: int | None = None,
    kernel: int | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
    transposed: bool = False,
    values: Table | str | None = None,
    kernel_values: Table | str | None = None,
) -> Explained:
    """Returns sizes, matrix and a worked example of a convolution, or of a transposed one.

    Args:
      size: side of the input; 4 by default, or that of `values`.
      kernel: side of the kernel; 3 by default, or that of `kernel_values`.
      stride, padding, dilation, output_padding: as in `segjax.ops`.
      transposed: whether to explain the transposed convolution.
      values, kernel_values: rows of numbers, or a text such as "2 3; 1 3".

    Raises:
      InputError: an argument is not a whole number, or the values are not a table of numbers
        or do not have the given side.
      ValueError: the sizes do not fit each other, or a number is out of range.
    """
    image, weights = _table("input", values), _table("kernel-values", kernel_values)
    size, kernel = (
        None if side is None else whole_number(name, side)
        for name, side in (("size", size), ("kernel", kernel))
    )
    output_padding = whole_number("output_padding", output_padding)
    shape = _shape("size", size, image, default=4)
    taps = _shape("kernel", kernel, weights, default=3)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    options = {name: whole_number(name, value) for name, value in options.items()}
    output = _output_shape(shape, taps, options, output_padding, transposed=transposed)
    large, small = (output, shape) if transposed else (shape, output)
    axes = [Axis(*sides, **options) for sides in zip(large, taps, small, strict=True)]
    result = {
        "transposed": transposed,
        "input": shape,
        "kernel": taps,
        **options,
        "output_padding": output_padding,
        "extent": [axis.extent for axis in axes],
        "output": output,
        "unread": [0 if transposed else axis.left_over for axis in axes],
        "matrix": _matrix(axes),
        "numbers": None,
    }
    if max(_widest(result)) <= SIDE:
        image = _counting(*shape) if image is None else image
        weights = _pattern(*taps) if weights is None else weights
        result["numbers"] = _work(result, image, weights)
    return Explained(result, text=text, figure=conv_figure)


def _table(name: str, given: Table | str | None) -> np.ndarray | None:
    """Returns the numbers of `2 3; 1 3`, of `[[2, 3], [1, 3]]` or of an array."""
    if given is None:
        return None
    try:
        rows: Any = given
        if isinstance(given, str):
            lines = given.strip(" ;").split(";")
            is_json = given.lstrip().startswith("[")
            rows = (
                json.loads(given) if is_json else [r.replace(",", " ").split() for r in lines]
            )
        table = np.array(rows, float)
    except (ValueError, TypeError):
        table = np.zeros(0)
    if table.ndim != 2 or table.size == 0 or not np.all(np.abs(table) < LARGEST):
        raise InputError(
            f"{name} {given!r} must be rows of equal length, of numbers below {LARGEST}, as in "
            '"2 3; 1 3".'
        )
    return table


def _shape(name: str, side: int | None, table: np.ndarray | None, *, default: int) -> list[int]:
    """Returns [height, width] of a table, or of a square with this side."""
    if table is None:
        side = default if side is None else side
        if not 1 <= side <= LARGEST:
            raise InputError(f"{name} must be from 1 to {LARGEST}, got {side}.")
        return [side, side]
    height, width = table.shape
    if side is not None and (side, side) != (height, width):
        raise InputError(
            f"{name} {side} does not fit the {height} x {width} values; leave it out."
        )
    return [height, width]


def _output_shape(
    shape: list[int],
    taps: list[int],
    options: Mapping[str, int],
    output_padding: int,
    *,
    transposed: bool,
) -> list[int]:
    """Returns the shape that the operation gives; it raises ValueError for a misfit."""
    import jax

    if max(*options.values(), output_padding) > LARGEST:
        raise InputError(f"Stride, padding and dilation may be at most {LARGEST}.")
    if output_padding and not transposed:
        raise InputError(
            "output-padding is for a transposed convolution only; add --transposed."
        )
    if 0 < options["stride"] <= output_padding:
        raise InputError(
            f"output-padding {output_padding} must be below the stride {options['stride']}: no "
            "convolution with this stride has that transpose."
        )
    operation = partial(_operation(transposed, output_padding), **options)
    shapes = ((1, *shape, 1), (*taps, 1, 1))
    inputs = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
    return list(jax.eval_shape(operation, *inputs).shape[1:3])


def _operation(transposed: bool, output_padding: int):
    from segjax.ops.conv import conv2d
    from segjax.ops.transposed import conv_transpose2d

    return partial(conv_transpose2d, output_padding=output_padding) if transposed else conv2d


def _matrix(axes: list[Axis]) -> dict[str, Any]:
    """Returns the size of C, and for each entry the number of its kernel entry (0: none)."""
    from segjax.ops.matrix import conv_matrix

    down, across = axes
    rows, columns = down.outputs * across.outputs, down.inputs * across.inputs
    entries = down.kernel * across.kernel
    taps = None
    if rows <= ROWS and columns <= COLUMNS and entries <= len(LETTERS):
        names = np.arange(1, entries + 1).reshape(down.kernel, across.kernel, 1, 1)
        options = {"stride": down.stride, "padding": down.padding, "dilation": down.dilation}
        taps = conv_matrix(names, (down.inputs, across.inputs), **options).tolist()
    return {
        "rows": rows,
        "columns": columns,
        "kernel_entries": down.connections * across.connections,
        "taps": taps,
    }


def _widest(result: Mapping[str, Any]) -> list[int]:
    """Returns the sides of the largest array that the procedure makes."""
    if not result["transposed"]:
        return [side + 2 * result["padding"] for side in result["input"]]
    steps = zip(result["input"], result["output"], result["extent"], strict=True)
    return [max((n - 1) * result["stride"] + 1, m + extent - 1) for n, m, extent in steps]


def _counting(height: int, width: int) -> np.ndarray:
    """Returns the numbers 1 to 9, repeated."""
    return np.arange(height * width).reshape(height, width) % 9 + 1.0


def _pattern(height: int, width: int) -> np.ndarray:
    """Returns a kernel of 0, 1 and 2 that differs from its mirror images."""
    return (np.arange(height)[:, None] + 2 * np.arange(width)[None, :] + 1) % 3.0


def _work(result: Mapping[str, Any], image: np.ndarray, kernel: np.ndarray) -> dict[str, Any]:
    """Returns the arrays of the procedure, and whether matrix and operation agree with it."""
    import jax.numpy as jnp

    from segjax.ops.matrix import conv_matrix

    transposed, dilation = result["transposed"], result["dilation"]
    arrays = procedure_arrays(result, image)
    slid = kernel[::-1, ::-1] if transposed else kernel
    windows = np.lib.stride_tricks.sliding_window_view(arrays[-1], tuple(result["extent"]))
    step = 1 if transposed else result["stride"]
    windows = windows[::step, ::step, ::dilation, ::dilation]
    output = np.einsum("yxij,ij->yx", windows, slid)
    options = {name: result[name] for name in ("stride", "padding", "dilation")}
    size = result["output"] if transposed else result["input"]
    matrix = conv_matrix(kernel[:, :, None, None], tuple(size), **options)
    product = (matrix.T if transposed else matrix) @ image.ravel()
    operation = _operation(transposed, result["output_padding"])
    operated = operation(
        jnp.asarray(image[None, :, :, None], jnp.float32),
        jnp.asarray(kernel[:, :, None, None], jnp.float32),
        **options,
    )
    return {
        "input": _plain(image),
        "kernel": _plain(kernel),
        **({"with_zeros_between": _plain(arrays[1])} if transposed else {}),
        "padded": _plain(arrays[-1]),
        **({"flipped_kernel": _plain(slid)} if transposed else {}),
        "output": _plain(output),
        "equals_matrix_product": _close(product.reshape(output.shape), output),
        "equals_operation": _close(np.asarray(operated)[0, :, :, 0], output),
    }


def _close(values: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(values, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()))


def _plain(values: np.ndarray) -> list[list[float]]:
    """Returns lists for JSON, whole numbers as integers."""
    return [[int(v) if v == int(v) else float(v) for v in row] for row in values]


def text(result: Mapping[str, Any]) -> str:
    """Returns the facts as the command prints them."""
    return conv_text.text(result)


def conv_figure(result: Mapping[str, Any]) -> "Figure":
    """Returns a figure of the inputs that each output reads.

    For a transposed convolution it has the steps of the gather, and the scatter below.

    Raises:
      InputError: the arrays are too large to be drawn.
    """
    from segjax.explain import conv_figure as drawing

    return drawing.arrays_figure(result)
