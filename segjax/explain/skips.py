"""`explain skips`: the gradient in stacks without, with added and with concatenated skips.

Every layer f is a 3×3 convolution and a ReLU. Measured is the length of ∂L/∂x for the output x
of each layer. The gradient at the last output is a random vector of length 1.
"""

import argparse
import math
import numbers
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from segjax.errors import InputError
from segjax.explain.explained import Explained
from segjax.explain.whole_numbers import whole_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STACKS = {
    "plain": "y = f(x)",
    "additive": "y = x + f(x)",
    "concatenating": "y = [x, f(x)]",
}
DEEPEST, WIDEST = 100, 64
SEEDS = 5
"""Number of networks to average; their seeds are consecutive."""
SIDE = 8
"""Side of the random input, in pixels."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `skips`."""
    parser = subparsers.add_parser(
        "skips",
        help="the gradient at each layer, without and with skip connections",
        description="Measure how the gradient shrinks or grows from layer to layer in a stack "
        "of convolutions without skip connections, with added ones and with concatenated ones.",
        epilog="Example: python -m segjax.explain skips --depth 50 --out skips.png",
    )
    parser.add_argument("--depth", type=int, default=30, help="layers (default 30)")
    parser.add_argument(
        "--channels", type=int, default=8, help="channels of each layer (default 8)"
    )
    parser.add_argument(
        "--gain",
        type=float,
        default=0.5,
        help="weights as a multiple of He's sqrt(2/n) (default 0.5; PyTorch's default is 0.41)",
    )
    parser.add_argument("--seed", type=int, default=0, help="first of 5 seeds (default 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Explained:
    """Returns what the arguments ask for."""
    names = ("depth", "channels", "gain", "seed")
    return explain_skips(**{name: getattr(arguments, name) for name in names})


def explain_skips(
    *, depth: int = 30, channels: int = 8, gain: float = 0.5, seed: int = 0
) -> Explained:
    """Returns the gradient's length at each layer from 0, the input, to `depth`, by stack.

    Args:
      depth: layers.
      channels: of each layer.
      gain: weights as a multiple of He's √(2 / n).
      seed: the first of five.

    Raises:
      InputError: a number is out of range.
    """
    depth, channels = whole_number("depth", depth), whole_number("channels", channels)
    seed = whole_number("seed", seed)
    _check(depth, channels, gain, seed)
    seeds = range(seed, seed + SEEDS)
    stacks = {}
    for name, rule in STACKS.items():
        lengths = _lengths(name, depth, channels, gain, seeds)
        mean = lengths.mean(0)
        stacks[name] = {
            "rule": rule,
            "gradient": [float(value) for value in mean],
            "factor_per_layer": float(mean[0] ** (1 / depth)),
            "seeds_without_gradient": int((lengths[:, 0] == 0).sum()),
        }
    facts = {
        "depth": depth,
        "channels": channels,
        "gain": gain,
        "seeds": list(seeds),
        "stacks": stacks,
    }
    return Explained(facts, text=text, figure=skips_figure)


def _check(depth: int, channels: int, gain: float, seed: int) -> None:
    """Raises InputError unless all numbers are in range."""
    for name, value, least, most in (
        ("depth", depth, 1, DEEPEST),
        ("channels", channels, 1, WIDEST),
        ("gain", gain, 0.01, 3),
        ("seed", seed, 0, 2**31 - 1),
    ):
        if not isinstance(value, numbers.Real) or not least <= value <= most:
            raise InputError(f"{name} must be from {least} to {most}, got {value!r}.")


def _lengths(name: str, depth: int, channels: int, gain: float, seeds: range) -> np.ndarray:
    """Returns the gradient's length by seed and layer, the input first."""
    from segjax.ops.skip import add_skip, concat_skip

    join = {"plain": lambda y, x: y, "additive": add_skip, "concatenating": concat_skip}[name]
    forward, backward = _passes(join)
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kernels, states = [], [rng.normal(size=(1, SIDE, SIDE, channels))]
        for _ in range(depth):
            inputs = states[-1].shape[-1]
            deviation = gain * np.sqrt(2 / (9 * inputs))
            kernels.append(rng.normal(0, deviation, (3, 3, inputs, channels)))
            states.append(np.asarray(forward(states[-1], kernels[-1])))
        ratios, gradient = [1.0], rng.normal(size=states[-1].shape)
        for x, kernel in zip(states[-2::-1], kernels[::-1], strict=True):
            gradient = np.asarray(gradient / max(np.linalg.norm(gradient), 1e-30), np.float32)
            gradient = np.asarray(backward(x, kernel, gradient), np.float64)
            ratios.append(float(np.linalg.norm(gradient)))
        rows.append(np.cumprod(ratios)[::-1])
    return np.stack(rows)


def _passes(join: Callable) -> tuple[Callable, Callable]:
    """Returns a layer (x, kernel) → y, scaled, and its chain rule (x, kernel, ∂L/∂y) → ∂L/∂x.

    Layers without biases are homogeneous: scaling x scales y and leaves the Jacobian unchanged.
    So y is scaled to length 1, and nothing underflows in a deep stack.
    """
    import jax
    import jax.numpy as jnp

    from segjax.ops.conv import conv2d

    layer = lambda x, kernel: join(jax.nn.relu(conv2d(x, kernel, padding=1)), x)

    def forward(x, kernel):
        y = layer(x, kernel)
        return y / jnp.maximum(jnp.linalg.norm(y), 1e-30)

    def backward(x, kernel, gradient):
        return jax.vjp(lambda x: layer(x, kernel), x)[1](gradient)[0]

    # Layer by layer: one module of all the layers takes XLA minutes to compile.
    return jax.jit(forward), jax.jit(backward)


def text(result: Mapping[str, Any]) -> str:
    """Returns the gradient's length at every few layers, and why it is so."""
    stacks, depth, networks = result["stacks"], result["depth"], len(result["seeds"])
    columns = lambda words: "".join(f"{word:>16}" for word in words)
    lines = [
        f"The gradient in a stack of {depth} layers f (3x3 convolution and ReLU), channels: "
        f"{result['channels']}.",
        f"Weights: {result['gain']:g} times He's sqrt(2 / n) for n inputs. Mean of {networks} "
        "networks.",
        "",
        "|dL/dx| at each layer: 1 at the last layer; layer 0 is the input.",
        "",
        "layer  " + columns(stacks),
        "       " + columns(stack["rule"] for stack in stacks.values()),
    ]
    for layer in reversed(_shown(depth)):
        values = (f"{stack['gradient'][layer]:.2e}" for stack in stacks.values())
        lines.append(f"{layer:5}  " + columns(values))
    factors = (f"x {stack['factor_per_layer']:.2f}" for stack in stacks.values())
    return "\n".join([*lines, "factor " + columns(factors), "", *_why(result)])


def _shown(depth: int) -> list[int]:
    """Returns the layers of the table: at most eleven, evenly spaced."""
    step = -(-depth // 10)
    return sorted({*range(0, depth, step), depth})


def _why(result: Mapping[str, Any]) -> list[str]:
    depth, first = result["depth"], result["stacks"]["plain"]["gradient"][0]
    share = (depth + 1) ** -0.5
    chain = " ".join(f"f'{i}" for i in range(depth, 0, -1))
    sums = " ".join(f"(I + f'{i})" for i in range(depth, 0, -1))
    if depth > 3:
        chain, sums = f"f'{depth} ... f'2 f'1", f"(I + f'{depth}) ... (I + f'1)"
    lines = [
        "Why: let g be dL/dy, f' the Jacobian of a layer f, and f'1, f'2 those of layers 1, 2.",
        "",
        "plain           dL/dx = g f'",
        f"                At the input it is g {chain}: a factor for each layer, here "
        f"{first:.1e}.",
        "additive        dL/dx = g (I + f') = g + g f'",
        f"                At the input it is g {sums} = g + ...: g arrives",
        "                unchanged, and the other terms add to it.",
        "concatenating   dy/dx = [I; f'], so dL/dx = g_x + g_f f', with g = [g_x, g_f]",
        "                The part of g for x passes through the identity unchanged.",
        f"                The input is 1/{depth + 1} of the last map, and its part of g has "
        f"length {share:.2f}.",
    ]
    dead = result["stacks"]["plain"]["seeds_without_gradient"]
    if dead:
        lines.append(
            f"\nIn {dead} of the {len(result['seeds'])} plain networks a layer has only zeros "
            "after its ReLU, so no gradient passes."
        )
    return lines


def skips_figure(result: Mapping[str, Any]) -> "Figure":
    """Returns the gradient's length by layer of the three stacks, on a logarithmic scale."""
    from segjax.explain import figure as look

    figure = look.new_figure(7.4, 4.4)
    look.write(figure, 0.4, 3.9, "Length of the gradient at each layer", size=12)
    note = (
        f"Layers: {result['depth']}, channels: {result['channels']}, weights: "
        f"{result['gain']:g} × √(2 / n), mean of {len(result['seeds'])} networks"
    )
    look.write(figure, 0.4, 3.64, note, color=look.MUTED)
    axes = look.axes_at(figure, 0.95, 0.7, 4.2, 2.7)
    axes.set_yscale("log")
    axes.axhline(1, color=look.FRAME, linewidth=1)
    styles = ((look.VERMILION, "o", "-"), (look.BLUE, "s", "--"), (look.GREEN, "^", ":"))
    for (name, stack), (color, marker, line) in zip(
        result["stacks"].items(), styles, strict=True
    ):
        values = np.array(stack["gradient"])
        # A length of zero has no place on this scale.
        values[values == 0] = np.nan
        axes.plot(
            values,
            line,
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, result["depth"] // 15),
            linewidth=1.6,
            label=f"{name}\n{stack['rule']}",
        )
    low, high = axes.get_ylim()
    whole = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
    axes.set(xlim=(0, result["depth"]), xticks=_shown(result["depth"]), ylim=whole)
    axes.set_xlabel("layer (0 is the input, the loss is on the right)", color=look.INK)
    axes.set_ylabel("‖∂L/∂x‖", color=look.INK)
    axes.tick_params(colors=look.INK, labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, labelspacing=1.2)
    return figure
