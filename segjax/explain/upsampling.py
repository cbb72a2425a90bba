"""`explain upsampling`: five ways from a small map to a large one, on the same small map.

The small map is a drawn shape after max-pooling, whose indices unpooling needs; beside it, a
map of ones shows what each way adds of its own. Learned kernels are random, as at the start of
training, but positive and with the right sum, so that the picture stays recognisable.
"""

import argparse
import pathlib
from typing import Any

import numpy as np

from segjax.errors import InputError

SIDE, CHANNELS = 12, 64
"""Pixels of the small map's side; channels in and out that costs are counted for."""
TAPS = 3
"""Side of the convolution behind nearest neighbours and before the sub-pixel shuffle."""
SPREAD = 0.3
"""The random weights' standard deviation, as a part of their mean."""
LARGEST = 8


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `upsampling`."""
    parser = subparsers.add_parser(
        "upsampling",
        help="transposed, bilinear, nearest, sub-pixel and unpooling, compared",
        description="Compare five ways of upsampling on one small map: results, sizes, costs, "
        "and whether a transposed convolution draws checkerboards.",
        epilog="Example: python -m segjax.explain upsampling --kernel 3 --out upsampling.png",
    )
    parser.add_argument("--factor", type=int, default=2, help="default 2")
    parser.add_argument(
        "--kernel", type=int, help="of the transposed convolution (default factor + 1)"
    )
    parser.add_argument(
        "--stride", type=int, help="of the transposed convolution (default: the factor)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns each way's result, its result on ones, its size and its costs.

    Raises:
      InputError: a number is out of range.
    """
    factor = arguments.factor
    stride = factor if arguments.stride is None else arguments.stride
    kernel = factor + 1 if arguments.kernel is None else arguments.kernel
    for option, value, least, most in (
        ("factor", factor, 2, LARGEST),
        ("stride", stride, 1, LARGEST),
        ("kernel", kernel, 1, 4 * LARGEST),
        ("seed", arguments.seed, 0, 2**31 - 1),
    ):
        if not least <= value <= most:
            raise InputError(f"--{option} must be from {least} to {most}, got {value}.")
    drawn = _shape(SIDE * factor)
    small, ways = _ways(drawn, factor, kernel, stride, np.random.default_rng(arguments.seed))
    counts = _costs(factor, kernel, stride)
    return {
        "factor": factor,
        "input": _rounded(small),
        "channels": CHANNELS,
        "methods": [
            {
                "name": name,
                "size": f"{rule} = {len(result)}",
                "output": _rounded(result),
                "of_ones": _rounded(ones),
                "parameters": counts[name][0],
                "multiply_adds": counts[name][1],
                "unevenness_of_ones": _unevenness(ones),
            }
            for name, (rule, result, ones) in ways.items()
        ],
        "checkerboard": _checkerboard(kernel, stride),
    }


def _shape(side: int) -> np.ndarray:
    """Returns a picture of side × side pixels from 0 to 1: a ring, a bar, and a ramp behind."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    radius = np.hypot(y - 0.42, x - 0.4)
    picture = 0.35 * x
    picture[(radius > 0.17) & (radius < 0.32)] = 1.0
    picture[(np.abs(y - 0.85) < 0.06) & (x > 0.2)] = 0.9
    return picture


def _ways(
    drawn: np.ndarray, factor: int, kernel: int, stride: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, tuple[str, np.ndarray, np.ndarray]]]:
    """Returns the small map, and for each way (size rule, result, result on ones)."""
    import jax.numpy as jnp

    from segjax.ops.conv import conv2d
    from segjax.ops.pool import max_pool_with_indices, max_unpool
    from segjax.ops.resize import resize_bilinear
    from segjax.ops.shuffle import depth_to_space, upsample_nearest
    from segjax.ops.transposed import conv_transpose2d

    batched = jnp.asarray(drawn[None, :, :, None], jnp.float32)
    small, indices = max_pool_with_indices(batched, window=factor, stride=factor)
    padding, extra = framing(kernel, stride)
    size = (SIDE * factor, SIDE * factor)
    spread = _weights(rng, (kernel, kernel, 1, 1), stride**2)
    smooth = _weights(rng, (TAPS, TAPS, 1, 1), 1)
    dealt = _weights(rng, (TAPS, TAPS, 1, factor**2), factor**2)
    border = [(0, 0), (TAPS // 2,) * 2, (TAPS // 2,) * 2, (0, 0)]
    # Borders continue their pixels, so that ones show nothing but the way itself.
    around = lambda x: jnp.pad(x, border, mode="edge")
    ways = {
        "transposed": (
            _transposed_rule(kernel, stride, padding, extra),
            lambda x: conv_transpose2d(
                x, spread, stride=stride, padding=padding, output_padding=extra
            ),
        ),
        "bilinear": ("any", lambda x: resize_bilinear(x, size)),
        "nearest + conv": (
            f"{factor} * {SIDE}",
            lambda x: conv2d(around(upsample_nearest(x, factor)), smooth),
        ),
        "sub-pixel": (
            f"{factor} * {SIDE}",
            lambda x: depth_to_space(conv2d(around(x), dealt), factor),
        ),
        "unpooling": ("what was pooled", lambda x: max_unpool(x, indices, size)),
    }
    plane = lambda x: np.asarray(x)[0, :, :, 0]
    ones = jnp.ones_like(small)
    return plane(small), {
        name: (rule, plane(way(small)), plane(way(ones))) for name, (rule, way) in ways.items()
    }


def framing(kernel: int, stride: int) -> tuple[int, int]:
    """Returns (padding, output padding) with which stride · n pixels come out of n.

    >>> framing(3, 2), framing(4, 2), framing(2, 2), framing(1, 2)
    ((1, 1), (1, 0), (0, 0), (0, 1))
    """
    padding = max(0, -(-(kernel - stride) // 2))
    return padding, stride - kernel + 2 * padding


def _transposed_rule(kernel: int, stride: int, padding: int, extra: int) -> str:
    return f"({SIDE} - 1) * {stride} - 2 * {padding} + {kernel} + {extra}"


def _weights(rng: np.random.Generator, shape: tuple[int, ...], total: float) -> Any:
    """Returns positive random weights whose sum is `total` (of a kernel that spreads: s²)."""
    import jax.numpy as jnp

    values = np.clip(rng.normal(1, SPREAD, shape), 0.1, None)
    return jnp.asarray(values * total / values.sum(), jnp.float32)


def _costs(factor: int, kernel: int, stride: int) -> dict[str, tuple[int, int]]:
    """Returns (parameters without biases, multiply-adds) of each way, borders not counted."""
    pixels, square = SIDE**2, CHANNELS**2
    taps = TAPS**2 * square
    return {
        "transposed": (kernel**2 * square, pixels * kernel**2 * square),
        "bilinear": (0, 4 * pixels * factor**2 * CHANNELS),
        "nearest + conv": (taps, pixels * factor**2 * taps),
        "sub-pixel": (taps * factor**2, pixels * taps * factor**2),
        "unpooling": (0, 0),
    }


def _checkerboard(kernel: int, stride: int) -> dict[str, Any]:
    """Returns how many taps meet in the outputs inside, and whether they are as many."""
    from segjax.ops.shuffle import checkerboard_free, overlap_counts

    counts = overlap_counts(kernel, stride, 2 * kernel + 2)
    start = -(-kernel // stride) * stride
    return {
        "kernel": kernel,
        "stride": stride,
        "free": checkerboard_free(kernel, stride),
        "taps_that_meet": counts[start : start + 3 * stride].tolist(),
    }


def _unevenness(ones: np.ndarray) -> float:
    """Returns (largest − smallest) / mean of a map of ones, away from its border."""
    margin = len(ones) // 4
    inside = ones[margin:-margin, margin:-margin]
    return round(float((inside.max() - inside.min()) / inside.mean()), 3)


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in values]


def text(result: dict[str, Any]) -> str:
    """Returns the costs of the five ways and the rule of the checkerboard."""
    channels, board = result["channels"], result["checkerboard"]
    lines = [
        f"Five ways from {SIDE} x {SIDE} to {result['factor']} times the side (transposed: "
        f"{board['stride']} times).",
        f"Parameters and multiply-adds are for {channels} channels in and out.",
        "Uneven: (largest - smallest) / mean of what they make of ones, inside.",
        "",
        f"{'':16}{'parameters':>12}{'multiply-adds':>15}{'uneven':>8}   side of the result",
    ]
    lines += [
        f"{way['name']:16}{way['parameters']:12,}{way['multiply_adds']:15,}"
        f"{way['unevenness_of_ones']:8.2f}   {way['size']}"
        for way in result["methods"]
    ]
    return "\n".join([*lines, "", *_verdict(board), "", *_remarks()])


def _verdict(board: dict[str, Any]) -> list[str]:
    kernel, stride = board["kernel"], board["stride"]
    counts = " ".join(map(str, board["taps_that_meet"]))
    lines = [
        f"Transposed, kernel {kernel}, stride {stride}: taps that meet along a line: {counts}"
    ]
    if board["free"]:
        return [
            *lines,
            f"As many everywhere ({stride} divides {kernel}): no checkerboard by overlap.",
        ]
    below, above = kernel // stride * stride, (kernel // stride + 1) * stride
    remedy = " or ".join(str(side) for side in (below, above) if side)
    return [
        *lines,
        f"Not as many everywhere ({stride} does not divide {kernel}): a checkerboard."
        f"\nUse kernel {remedy} (Odena et al., 2016).",
    ]


def _remarks() -> list[str]:
    return [
        "Weights are random here. Where neighbours are made by different weights (transposed,",
        "sub-pixel) they differ at first even so; training may or may not even them out.",
        "Unpooling puts values back where they were, zeros elsewhere; convolutions follow.",
    ]


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws what each way makes of the small map, and of ones.

    Raises:
      InputError: the file cannot be written.
    """
    from segjax.explain import figure as look

    side, gap, left, top = 1.75, 0.16, 0.4, 4.85
    figure = look.new_figure(2 * left + 6 * side + 5 * gap, 5.5)
    board = result["checkerboard"]
    title = f"Five ways of upsampling by {result['factor']}"
    note = (
        f"Transposed: kernel {board['kernel']}, stride {board['stride']}: "
        + (
            "as many taps meet in every pixel."
            if board["free"]
            else "a checkerboard, for the stride does not divide the kernel."
        )
        + " Learned weights are random, as at the start of training."
    )
    look.write(figure, left, top + 0.18, title, size=12)
    look.write(figure, left, top - 0.08, note, color=look.MUTED)
    ones = [[1.0] * SIDE] * SIDE
    panels = [("input", result["input"], ones)]
    panels += [(way["name"], way["output"], way["of_ones"]) for way in result["methods"]]
    bottoms = (top - 0.55 - side, top - 0.95 - 2 * side)
    for column, (name, of_shape, of_ones) in enumerate(panels):
        x = left + column * (side + gap)
        look.write(figure, x, bottoms[0] + side + 0.07, name, size=10)
        words = "of ones" if column else "ones"
        look.write(figure, x, bottoms[1] + side + 0.07, words, color=look.MUTED)
        for values, bottom in zip((of_shape, of_ones), bottoms, strict=True):
            axes = look.axes_at(figure, x, bottom, side, side)
            axes.imshow(values, cmap="gray", vmin=0, vmax=1.6, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(color=look.FRAME, linewidth=1)
    look.save(figure, path)
