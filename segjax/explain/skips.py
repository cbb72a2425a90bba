"""`explain skips`: how a gradient travels down a plain, an additive and a concatenating stack.

Every layer is a 3×3 convolution and a ReLU, f. What is measured is the length of ∂L/∂x at each
layer's output x, for a loss whose gradient at the last one is a random vector of length 1.
"""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from segjax.errors import InputError

STACKS = {
    "plain": "y = f(x)",
    "additive": "y = x + f(x)",
    "concatenating": "y = [x, f(x)]",
}
DEEPEST, WIDEST = 100, 64
SEEDS = 5
"""Networks that are averaged: their seeds follow one another."""
SIDE = 8
"""Pixels of the random input's side."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `skips`."""
    parser = subparsers.add_parser(
        "skips",
        help="the gradient by layer, without and with skip connections",
        description="Measure how the gradient shrinks or grows from layer to layer in a stack "
        "of convolutions without skips, with added and with concatenated ones.",
        epilog="Example: python -m segjax.explain skips --depth 50 --out skips.png",
    )
    parser.add_argument("--depth", type=int, default=30, help="layers (default 30)")
    parser.add_argument("--channels", type=int, default=8, help="of each layer (default 8)")
    parser.add_argument(
        "--gain",
        type=float,
        default=0.5,
        help="times He's sqrt(2/n) are the weights (default 0.5; PyTorch's own 0.41)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the first of 5 (default 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the gradient's length by layer, 0 (the input) … depth, for each stack.

    Raises:
      InputError: a number is out of range.
    """
    _check(arguments)
    seeds = range(arguments.seed, arguments.seed + SEEDS)
    stacks = {}
    for name, rule in STACKS.items():
        lengths = _lengths(name, arguments, seeds)
        mean = lengths.mean(0)
        stacks[name] = {
            "rule": rule,
            "gradient": [float(value) for value in mean],
            "factor_per_layer": float(mean[0] ** (1 / arguments.depth)),
            "seeds_without_gradient": int((lengths[:, 0] == 0).sum()),
        }
    return {
        "depth": arguments.depth,
        "channels": arguments.channels,
        "gain": arguments.gain,
        "seeds": list(seeds),
        "stacks": stacks,
    }


def _check(arguments: argparse.Namespace) -> None:
    """Returns nothing: the numbers are in range.

    Raises:
      InputError: one is not.
    """
    for option, largest in (("depth", DEEPEST), ("channels", WIDEST)):
        value = getattr(arguments, option)
        if not 1 <= value <= largest:
            raise InputError(f"--{option} must be from 1 to {largest}, got {value}.")
    if not 0.01 <= arguments.gain <= 3:
        raise InputError(f"--gain must be from 0.01 to 3, got {arguments.gain}.")
    if not 0 <= arguments.seed < 2**31:
        raise InputError(f"--seed must be from 0 to 2147483647, got {arguments.seed}.")


def _lengths(name: str, arguments: argparse.Namespace, seeds: range) -> np.ndarray:
    """Returns the gradient's length by seed and layer, the input first."""
    from segjax.ops.skip import add_skip, concat_skip

    join = {"plain": lambda y, x: y, "additive": add_skip, "concatenating": concat_skip}[name]
    forward, backward = _passes(join)
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kernels, states = [], [rng.normal(size=(1, SIDE, SIDE, arguments.channels))]
        for _ in range(arguments.depth):
            inputs = states[-1].shape[-1]
            deviation = arguments.gain * np.sqrt(2 / (9 * inputs))
            kernels.append(rng.normal(0, deviation, (3, 3, inputs, arguments.channels)))
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

    Layers without biases are homogeneous: to scale x scales y and leaves the Jacobian alone. So
    y is brought to length 1, and nothing underflows, however deep.
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


def text(result: dict[str, Any]) -> str:
    """Returns the lengths of every few layers, and the derivatives behind them."""
    stacks, depth, networks = result["stacks"], result["depth"], len(result["seeds"])
    columns = lambda words: "".join(f"{word:>16}" for word in words)
    lines = [
        f"A gradient through {depth} layers f (3x3 convolution and ReLU) of "
        f"{result['channels']} channels.",
        f"Weights: {result['gain']:g} times He's sqrt(2 / n), n incoming. Mean of {networks} "
        "networks.",
        "",
        "|dL/dx| by layer: the last one's is 1, layer 0 is the input.",
        "",
        "layer  " + columns(stacks),
        "       " + columns(stack["rule"] for stack in stacks.values()),
    ]
    for layer in reversed(_shown(depth)):
        values = (f"{stack['gradient'][layer]:.2e}" for stack in stacks.values())
        lines.append(f"{layer:5}  " + columns(values))
    factors = (f"x {stack['factor_per_layer']:.2f}" for stack in stacks.values())
    return "\n".join([*lines, "a layer" + columns(factors), "", *_why(result)])


def _shown(depth: int) -> list[int]:
    """Returns the layers of the table: at most eleven, evenly spaced."""
    step = -(-depth // 10)
    return sorted({*range(0, depth, step), depth})


def _why(result: dict[str, Any]) -> list[str]:
    depth, first = result["depth"], result["stacks"]["plain"]["gradient"][0]
    share = (depth + 1) ** -0.5
    lines = [
        "Why: write g for dL/dy and f' for the Jacobian of f, f'1 ... of the layers.",
        "",
        "plain           dL/dx = g f'",
        f"                at the input g f'{depth} ... f'2 f'1: a product of {depth} factors, "
        f"here {first:.1e}.",
        "additive        dL/dx = g (I + f') = g + g f'",
        f"                at the input g (I + f'{depth}) ... (I + f'1) = g + ...: g arrives "
        "whole, whatever",
        "                the layers do. The other terms add to it: it grows with the depth.",
        "concatenating   dy/dx = [I; f'], so dL/dx = g_x + g_f f', with g = [g_x, g_f]",
        "                the part of g that belongs to x passes the identity block unchanged.",
        f"                The input is 1/{depth + 1} of the last map; its own part of g has "
        f"length {share:.2f}.",
    ]
    dead = result["stacks"]["plain"]["seeds_without_gradient"]
    if dead:
        lines.append(
            f"\nIn {dead} of the {len(result['seeds'])} plain networks a layer's ReLUs are all "
            "shut: no gradient at all."
        )
    return lines


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws the three lengths by layer, on a logarithmic scale.

    Raises:
      InputError: the file cannot be written.
    """
    from segjax.explain import figure as look

    figure = look.new_figure(7.4, 4.4)
    look.write(figure, 0.4, 3.9, "How long the gradient is in each layer", size=12)
    note = (
        f"{result['depth']} layers of {result['channels']} channels, weights "
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
    axes.set(xlim=(0, result["depth"]), xticks=_shown(result["depth"]))
    axes.set_xlabel("layer (0 is the input, the loss is on the right)", color=look.INK)
    axes.set_ylabel("‖∂L/∂x‖", color=look.INK)
    axes.tick_params(colors=look.INK, labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, labelspacing=1.2)
    look.save(figure, path)
