"""`explain conv`: a convolution, or its transpose, as sizes, as a matrix and in worked numbers.

The transposed one is shown as a gather, PyTorch's description: put zeros between the inputs and
around them, flip the kernel, convolve. The figure shows it as a scatter as well.
"""

import argparse
import json
import pathlib
from functools import partial
from typing import Any

import numpy as np

from segjax.errors import InputError
from segjax.explain import conv_text
from segjax.explain.conv_geometry import COLUMNS, LETTERS, ROWS, SIDE, Axis, procedure_arrays

LARGEST = 10_000
"""No number of a geometry may be larger."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `conv`."""
    parser = subparsers.add_parser(
        "conv",
        help="a convolution or its transpose: sizes, matrix, worked numbers",
        description="Show a convolution, or with --transposed its transpose: its sizes, the "
        "matrix that it is, and worked numbers.",
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
    parser.add_argument("--transposed", action="store_true", help="the transposed convolution")
    parser.add_argument("--input", metavar="ROWS", help='"2 3; 1 3" or "[[2, 3], [1, 3]]"')
    parser.add_argument("--kernel-values", metavar="ROWS", help="the kernel, written likewise")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the sizes, the matrix and the worked numbers that the arguments ask for.

    Raises:
      InputError: a table of numbers is none, or its side is not the one that was given.
      ValueError: the sizes do not fit one another, or a number is out of range.
    """
    image = _table("--input", arguments.input)
    kernel = _table("--kernel-values", arguments.kernel_values)
    shape = _shape("--size", arguments.size, image, default=4)
    taps = _shape("--kernel", arguments.kernel, kernel, default=3)
    output = _output_shape(arguments, shape, taps)
    large, small = (output, shape) if arguments.transposed else (shape, output)
    options = {name: getattr(arguments, name) for name in ("stride", "padding", "dilation")}
    axes = [Axis(*sides, **options) for sides in zip(large, taps, small, strict=True)]
    result = {
        "transposed": arguments.transposed,
        "input": shape,
        "kernel": taps,
        **options,
        "output_padding": arguments.output_padding,
        "extent": [axis.extent for axis in axes],
        "output": output,
        "unread": [0 if arguments.transposed else axis.left_over for axis in axes],
        "matrix": _matrix(axes),
        "numbers": None,
    }
    if max(_widest(result)) <= SIDE:
        image = _counting(*shape) if image is None else image
        kernel = _pattern(*taps) if kernel is None else kernel
        result["numbers"] = _work(result, image, kernel)
    return result


def _table(option: str, text: str | None) -> np.ndarray | None:
    """Returns the numbers of `2 3; 1 3` or `[[2, 3], [1, 3]]`."""
    if text is None:
        return None
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [row.replace(",", " ").split() for row in text.strip(" ;").split(";")]
        table = np.array(rows, float)
    except (ValueError, TypeError):
        table = np.zeros(0)
    if table.ndim != 2 or table.size == 0 or not np.all(np.abs(table) < LARGEST):
        raise InputError(
            f"{option} {text!r} is no table of numbers below {LARGEST}; write rows of equal "
            'length, as in "2 3; 1 3".'
        )
    return table


def _shape(
    option: str, side: int | None, table: np.ndarray | None, *, default: int
) -> list[int]:
    """Returns [height, width] of a table, or of a square with this side."""
    if table is None:
        side = default if side is None else side
        if not 1 <= side <= LARGEST:
            raise InputError(f"{option} must be from 1 to {LARGEST}, got {side}.")
        return [side, side]
    height, width = table.shape
    if side is not None and (side, side) != (height, width):
        raise InputError(
            f"{option} {side} does not fit the {height} x {width} values given; leave it out."
        )
    return [height, width]


def _output_shape(
    arguments: argparse.Namespace, shape: list[int], taps: list[int]
) -> list[int]:
    """Returns what the operation itself says; it refuses what does not fit."""
    import jax

    options = {name: getattr(arguments, name) for name in ("stride", "padding", "dilation")}
    if max(*options.values(), arguments.output_padding) > LARGEST:
        raise InputError(f"Stride, padding and dilation may be at most {LARGEST}.")
    if arguments.output_padding and not arguments.transposed:
        raise InputError("--output-padding belongs to --transposed; add that or leave it out.")
    if 0 < arguments.stride <= arguments.output_padding:
        raise InputError(
            f"--output-padding {arguments.output_padding} must be below the stride "
            f"{arguments.stride}: no convolution with this stride has that transpose."
        )
    operation = partial(_operation(arguments.transposed, arguments.output_padding), **options)
    shapes = ((1, *shape, 1), (*taps, 1, 1))
    inputs = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
    return list(jax.eval_shape(operation, *inputs).shape[1:3])


def _operation(transposed: bool, output_padding: int):
    from segjax.ops.conv import conv2d
    from segjax.ops.transposed import conv_transpose2d

    return partial(conv_transpose2d, output_padding=output_padding) if transposed else conv2d


def _matrix(axes: list[Axis]) -> dict[str, Any]:
    """Returns C's size, and which kernel entry (from 1; 0 for none) stands where in it."""
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


def _widest(result: dict[str, Any]) -> list[int]:
    """Returns the sides of the largest array that the procedure makes."""
    if not result["transposed"]:
        return [side + 2 * result["padding"] for side in result["input"]]
    steps = zip(result["input"], result["output"], result["extent"], strict=True)
    return [max((n - 1) * result["stride"] + 1, m + extent - 1) for n, m, extent in steps]


def _counting(height: int, width: int) -> np.ndarray:
    """Returns 1 to 9, again and again."""
    return np.arange(height * width).reshape(height, width) % 9 + 1.0


def _pattern(height: int, width: int) -> np.ndarray:
    """Returns a kernel of 0, 1 and 2 that differs from its mirror images."""
    return (np.arange(height)[:, None] + 2 * np.arange(width)[None, :] + 1) % 3.0


def _work(result: dict[str, Any], image: np.ndarray, kernel: np.ndarray) -> dict[str, Any]:
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


def text(result: dict[str, Any]) -> str:
    """Returns the result as a student reads it."""
    return conv_text.text(result)


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws which inputs each output reads; of a transposed one, the steps and the scatter.

    Raises:
      InputError: the arrays are too large to be drawn, or the file cannot be written.
    """
    from segjax.explain import conv_figure

    conv_figure.draw(result, path)
