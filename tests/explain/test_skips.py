"""The gradient by layer: the chain rule itself, known lengths, its text and its figure."""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.explain import skips
from segjax.explain.figure import save
from segjax.ops.conv import conv2d


def _arguments(**options):
    defaults = dict(depth=3, channels=2, gain=0.5, seed=0)
    return argparse.Namespace(**{**defaults, **options})


@pytest.fixture(scope="module")
def result():
    return skips.run(_arguments())


def _whole(name, seed, *, depth, channels, gain):
    """Returns ‖∂L/∂x‖ of every layer from one gradient of the whole stack, nothing scaled."""
    rng = np.random.default_rng(seed)
    states, kernels = [rng.normal(size=(1, skips.SIDE, skips.SIDE, channels))], []
    joins = {
        "plain": lambda y, x: y,
        "additive": lambda y, x: x + y,
        "concatenating": lambda y, x: jnp.concatenate([x, y], -1),
    }
    layer = lambda x, k: joins[name](jnp.maximum(conv2d(x, k, padding=1), 0), x)
    for _ in range(depth):
        inputs = states[-1].shape[-1]
        deviation = gain * (2 / (9 * inputs)) ** 0.5
        kernels.append(jnp.asarray(rng.normal(0, deviation, (3, 3, inputs, channels))))
        states.append(layer(jnp.asarray(states[-1]), kernels[-1]))
    arriving = rng.normal(size=states[-1].shape)
    arriving = jnp.asarray(arriving / np.linalg.norm(arriving))

    def loss(nudges):
        x = jnp.asarray(states[0]) + nudges[0]
        for kernel, nudge in zip(kernels, nudges[1:], strict=True):
            x = layer(x, kernel) + nudge
        return (x * arriving).sum()

    return [jnp.linalg.norm(g) for g in jax.grad(loss)([jnp.zeros(s.shape) for s in states])]


@pytest.mark.parametrize("name", skips.STACKS)
def test_lengths_are_those_of_the_gradient_of_the_whole_stack(result, name):
    rows = [_whole(name, seed, depth=3, channels=2, gain=0.5) for seed in result["seeds"]]
    found = result["stacks"][name]
    np.testing.assert_allclose(found["gradient"], np.mean(rows, axis=0), rtol=1e-4)
    assert found["gradient"][-1] == pytest.approx(1)
    assert found["factor_per_layer"] ** 3 == pytest.approx(found["gradient"][0])


def test_without_weights_the_plain_gradient_is_gone_and_the_others_are_the_identitys():
    weak = skips.run(_arguments(gain=0.01, depth=4))["stacks"]
    assert weak["plain"]["gradient"][0] < 0.02**4
    assert weak["additive"]["gradient"][0] == pytest.approx(1, abs=0.1)
    assert weak["concatenating"]["gradient"][0] == pytest.approx(5**-0.5, abs=0.1)


def test_shut_relus_are_counted_and_said():
    result = skips.run(_arguments(channels=1, depth=12))
    dead = result["stacks"]["plain"]["seeds_without_gradient"]
    assert dead > 0
    assert f"In {dead} of the 5 plain networks" in skips.text(result)


def test_the_text_shows_the_lengths_and_the_derivatives(result):
    text = skips.text(result)
    rows = [line.split() for line in text.splitlines()]
    first = [f"{stack['gradient'][0]:.2e}" for stack in result["stacks"].values()]
    assert ["0", *first] in rows
    for words in ("dL/dx = g (I + f') = g + g f'", "dy/dx = [I; f']", "g f'3 f'2 f'1"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 96 and text.isascii()


def test_a_long_table_is_thinned_and_keeps_both_ends():
    assert skips._shown(100) == list(range(0, 101, 10))
    assert skips._shown(30)[:2] + skips._shown(30)[-1:] == [0, 3, 30]
    assert skips._shown(1) == [0, 1]


def test_the_result_is_json_and_its_figure_shows_three_lines(result, tmp_path):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    path = tmp_path / "new" / "skips.png"
    save(result.figure(), path)
    with Image.open(path) as figure:
        colours = {colour for _, colour in figure.convert("RGB").getcolors(1 << 20)}
    assert {(213, 94, 0), (0, 114, 178), (0, 158, 115)} <= colours


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(depth=0), "depth must be from 1 to 100, got 0"),
        (dict(channels=65), "channels must be from 1 to 64, got 65"),
        (dict(gain=float("nan")), "gain must be from 0.01 to 3, got nan"),
        (dict(seed=-1), "seed must be from 0 to 2147483647, got -1"),
    ],
)
def test_a_number_out_of_range_is_an_error(options, message):
    with pytest.raises(InputError, match=message):
        skips.run(_arguments(**options))


def test_the_command_has_defaults_that_run_accepts():
    parser = argparse.ArgumentParser()
    skips.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["skips", "--depth", "2"])
    assert arguments.run is skips.run
    assert arguments.run(arguments)["depth"] == 2
