"""`explain upsampling`: five methods of upsampling, applied to the same small map.

The small map is a drawn shape after max-pooling, whose indices unpooling needs. A map of ones
shows the pattern that each method adds. Learned kernels are random, as at the start of
training, but positive and with the right sum, so that the picture stays recognisable.
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from segjax.errors import InputError
from segjax.explain.explained import Explained
from segjax.explain.whole_numbers import whole_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, CHANNELS = 12, 64
"""Side of the small map in pixels; channels in and out for which costs are counted."""
TAPS = 3
"""Side of the kernel after nearest neighbours and before the sub-pixel shuffle."""
SPREAD = 0.3
"""Standard deviation of the random weights, as a multiple of their mean."""
LARGEST = 8
"""Largest factor and stride."""
BRIGHTEST = 1.6
"""Value that the figure shows as white."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `upsampling`."""
    parser = subparsers.add_parser(
        "upsampling",
        help="transposed convolution, bilinear, nearest, sub-pixel and unpooling compared",
        description="Compare five methods of upsampling on a small map: results, sizes, costs, "
        "and whether a transposed convolution makes a checkerboard.",
        epilog="Example: python -m segjax.explain upsampling --kernel 3 --out upsampling.png",
    )
    parser.add_argument("--factor", type=int, default=2, help="ratio of the sides (default 2)")
    parser.add_argument(
        "--kernel", type=int, help="side of the transposed kernel (default: factor + 1)"
    )
    parser.add_argument(
        "--stride", type=int, help="stride of the transposed convolution (default: factor)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random weights (default 0)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Explained:
    """Returns what the arguments ask for."""
    names = ("factor", "kernel", "stride", "seed")
    return explain_upsampling(**{name: getattr(arguments, name) for name in names})


def explain_upsampling(
    *, factor: int = 2, kernel: int | None = None, stride: int | None = None, seed: int = 0
) -> Explained:
    """Returns each method's result, its result on ones, its size and its costs.

    Args:
      factor: ratio of the sides.
      kernel: side of the transposed convolution's kernel; `factor` + 1 by default.
      stride: of the transposed convolution; `factor` by default.
      seed: of the random weights.

    Raises:
      InputError: a number is out of range.
    """
    factor, seed = whole_number("factor", factor), whole_number("seed", seed)
    stride = factor if stride is None else whole_number("stride", stride)
    kernel = factor + 1 if kernel is None else whole_number("kernel", kernel)
    for option, value, least, most in (
        ("factor", factor, 2, LARGEST),
        ("stride", stride, 1, LARGEST),
        ("kernel", kernel, 1, 4 * LARGEST),
        ("seed", seed, 0, 2**31 - 1),
    ):
        if not least <= value <= most:
            raise InputError(f"{option} must be from {least} to {most}, got {value}.")
    drawn = _shape(SIDE * factor)
    small, ways = _ways(drawn, factor, kernel, stride, np.random.default_rng(seed))
    counts = _costs(factor, kernel, stride)
    facts = {
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
    return Explained(facts, text=text, figure=upsampling_figure)


def _shape(side: int) -> np.ndarray:
    """Returns a picture of side × side pixels within 0 … 1: a ring and a bar on a ramp."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    radius = np.hypot(y - 0.42, x - 0.4)
    picture = 0.35 * x
    picture[(radius > 0.17) & (radius < 0.32)] = 1.0
    picture[(np.abs(y - 0.85) < 0.06) & (x > 0.2)] = 0.9
    return picture


def _ways(
    drawn: np.ndarray, factor: int, kernel: int, stride: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, tuple[str, np.ndarray, np.ndarray]]]:
    """Returns the small map, and for each method (size rule, result, result on ones)."""
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
    # Borders repeat their pixels, so that ones show the method's own pattern only.
    around = lambda x: jnp.pad(x, border, mode="edge")
    ways = {
        "transposed": (
            _transposed_rule(kernel, stride, padding, extra),
            lambda x: conv_transpose2d(
                x, spread, stride=stride, padding=padding, output_padding=extra
            ),
        ),
        "bilinear": ("any size", lambda x: resize_bilinear(x, size)),
        "nearest + conv": (
            f"{factor} * {SIDE}",
            lambda x: conv2d(around(upsample_nearest(x, factor)), smooth),
        ),
        "sub-pixel": (
            f"{factor} * {SIDE}",
            lambda x: depth_to_space(conv2d(around(x), dealt), factor),
        ),
        "unpooling": ("size before pooling", lambda x: max_unpool(x, indices, size)),
    }
    plane = lambda x: np.asarray(x)[0, :, :, 0]
    ones = jnp.ones_like(small)
    return plane(small), {
        name: (rule, plane(way(small)), plane(way(ones))) for name, (rule, way) in ways.items()
    }


def framing(kernel: int, stride: int) -> tuple[int, int]:
    """Returns (padding, output padding) for which n pixels become stride · n.

    >>> framing(3, 2), framing(4, 2), framing(2, 2), framing(1, 2)
    ((1, 1), (1, 0), (0, 0), (0, 1))
    """
    padding = max(0, -(-(kernel - stride) // 2))
    return padding, stride - kernel + 2 * padding


def _transposed_rule(kernel: int, stride: int, padding: int, extra: int) -> str:
    return f"({SIDE} - 1) * {stride} - 2 * {padding} + {kernel} + {extra}"


def _weights(rng: np.random.Generator, shape: tuple[int, ...], total: float) -> Any:
    """Returns positive random weights whose sum is `total`: stride² for a transposed kernel."""
    import jax.numpy as jnp

    values = np.clip(rng.normal(1, SPREAD, shape), 0.1, None)
    return jnp.asarray(values * total / values.sum(), jnp.float32)


def _costs(factor: int, kernel: int, stride: int) -> dict[str, tuple[int, int]]:
    """Returns (parameters without biases, multiply-adds) of each method, without borders."""
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
    """Returns how many taps overlap at inner outputs, and whether the number is constant."""
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
    """Returns (largest − smallest) / mean of a map, away from its border."""
    margin = len(ones) // 4
    inside = ones[margin:-margin, margin:-margin]
    return round(float((inside.max() - inside.min()) / inside.mean()), 3)


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in values]


def text(result: Mapping[str, Any]) -> str:
    """Returns the costs of the five methods and the rule of the checkerboard."""
    channels, board = result["channels"], result["checkerboard"]
    lines = [
        f"Five methods of upsampling a map of {SIDE} x {SIDE} by {result['factor']} (the "
        f"transposed convolution by {board['stride']}).",
        f"Parameters and multiply-adds are for {channels} channels in and out.",
        "Uneven: (largest - smallest) / mean of the result for a map of ones, inside.",
        "",
        f"{'':16}{'parameters':>12}{'multiply-adds':>15}{'uneven':>8}   side of the result",
    ]
    lines += [
        f"{way['name']:16}{way['parameters']:12,}{way['multiply_adds']:15,}"
        f"{way['unevenness_of_ones']:8.2f}   {way['size']}"
        for way in result["methods"]
    ]
    return "\n".join([*lines, "", *_verdict(board), "", *_remarks()])


def _verdict(board: Mapping[str, Any]) -> list[str]:
    kernel, stride = board["kernel"], board["stride"]
    counts = " ".join(map(str, board["taps_that_meet"]))
    lines = [
        f"Transposed convolution, kernel {kernel}, stride {stride}.",
        f"Taps that overlap at each output of a row: {counts}",
    ]
    if board["free"]:
        return [
            *lines,
            f"The number is constant ({stride} divides {kernel}), so overlap makes no "
            "checkerboard.",
        ]
    below, above = kernel // stride * stride, (kernel // stride + 1) * stride
    remedy = " or ".join(str(side) for side in (below, above) if side)
    return [
        *lines,
        f"The number varies ({stride} does not divide {kernel}), which makes a checkerboard."
        f"\nUse kernel {remedy} (Odena et al., 2016).",
    ]


def _remarks() -> list[str]:
    return [
        "The weights are random. Transposed convolution and sub-pixel compute neighbouring",
        "pixels with different weights, so these differ at first; training may reduce that.",
        "Unpooling puts values back where they were and zeros elsewhere.",
    ]


def upsampling_figure(result: Mapping[str, Any]) -> "Figure":
    """Returns each method's result for the small map and for a map of ones, as a figure."""
    from segjax.explain import figure as look

    side, gap, left, top = 1.75, 0.16, 0.4, 4.85
    figure = look.new_figure(2 * left + 6 * side + 5 * gap, 5.5)
    board = result["checkerboard"]
    title = f"Five methods of upsampling by {result['factor']}"
    divides = "divides" if board["free"] else "does not divide"
    verdict = "even overlap" if board["free"] else "a checkerboard"
    note = (
        f"Transposed convolution: stride {board['stride']} {divides} kernel {board['kernel']}: "
        f"{verdict}. Random weights. Black is 0, white is {BRIGHTEST:g} or more."
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
        words = "result for ones" if column else "ones"
        look.write(figure, x, bottoms[1] + side + 0.07, words, color=look.MUTED)
        for values, bottom in zip((of_shape, of_ones), bottoms, strict=True):
            axes = look.axes_at(figure, x, bottom, side, side)
            axes.imshow(values, cmap="gray", vmin=0, vmax=BRIGHTEST, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(color=look.FRAME, linewidth=1)
    return figure
