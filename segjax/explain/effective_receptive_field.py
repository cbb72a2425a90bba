"""The effective receptive field (Luo et al., 2016, arXiv:1701.04128) and the theoretical one.

The weight of a pixel is |∂ mean activation of the centre position / ∂ pixel|, summed over
channels and averaged over networks with random weights. This part runs the network.
"""

import math
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from segjax.conformity import canvas
from segjax.contracts import Array, Variables
from segjax.data.images import pixels, read_image
from segjax.data.synthetic import Synthetic
from segjax.explain.trace import Seen, Trace
from segjax.ops.dispatch import plain
from segjax.ops.receptive_field import window_of

CELLS = 64
"""Largest side of a map in the JSON."""

QUICK = {"xla_backend_optimization_level": 0}
"""Options for programs that run a few times only: most of their time is compilation."""

ANSWER = "answer"


def effective_fields(
    model: nn.Module, image: Float[Array, "1 h w c"], traced: Trace, *, networks: int
) -> list[dict[str, Any]]:
    """Returns the centre's receptive field in the backbone's last features and in the output.

    Args:
      model: the network.
      image: one image, normalised.
      traced: `trace` of the network at the image's size.
      networks: number of networks with random weights to average over.

    Returns:
      For each field: `of`, its name; `size` of the image; `box`, the theoretical field of the
      centre as (top, left, height, width), which may reach beyond the image, or None;
      `largest`, the (height, width) of the largest theoretical field of any position, or None;
      `image`, whether it sees the pooled image too; `half` and `most`, sides of the centred
      squares with 50 % and 95 % of the gradient; `map`, the gradient divided by its largest
      value, and `region`, the (top, left, height, width) of the image that it covers.
    """
    gradient = jax.jit(lambda v, x: _gradients(model, v, x), compiler_options=QUICK)
    start = _start(model, image.shape[-1])
    total: dict[str, Any] = {}
    for seed in range(networks):
        with plain():
            maps = jax.device_get(gradient(start(jax.random.key(seed)), image))
        for name, values in maps.items():
            # All networks have the same weight, whatever the scale of their signals.
            share = values.astype(np.float64) / max(values.sum(dtype=np.float64), 1e-300)
            total[name] = total.get(name, 0) + share / networks
    names = sorted(total, key=lambda name: name == ANSWER)
    return [{"of": name, **_facts(total[name], *_theory(traced, name))} for name in names]


def _start(model: nn.Module, channels: int) -> Callable[[Array], Variables]:
    """Returns a function from a random key to random weights."""
    size = canvas(model, 64, 64)
    start = lambda key: model.init(key, jnp.zeros((1, *size, channels)), train=False)
    return jax.jit(start, compiler_options=QUICK)


def _gradients(model: nn.Module, variables: Variables, image: Array) -> dict[str, Array]:
    """Returns {name of a map: gradient of its centre, summed over channels, h w}."""

    def centres(image):
        """Returns the mean over channels of the central value of each map."""
        answer, state = model.apply(
            variables,
            image,
            train=False,
            capture_intermediates=lambda module, method: module.name == "backbone",
            mutable=["intermediates"],
        )
        captured = dict(state.get("intermediates") or {}).get("backbone", {})
        features = captured["__call__"][0] if captured else {}
        maps = {f"backbone {max(features)}": features[max(features)]} if features else {}
        centre = lambda x: x[0, x.shape[1] // 2, x.shape[2] // 2].astype(jnp.float32).mean()
        return {name: centre(x) for name, x in {**maps, ANSWER: answer}.items()}

    names, pull = jax.vjp(centres, image)
    return {
        chosen: jnp.abs(pull({n: jnp.float32(n == chosen) for n in names})[0]).sum((0, 3))
        for chosen in names
    }


def _theory(traced: Trace, name: str) -> tuple[Seen, tuple[int, ...]]:
    """Returns what the positions of a map see, and its size."""
    if name == ANSWER:
        return traced.answer, traced.shape
    rows = [row for row in traced.rows if row.path.startswith("backbone")]
    # Of a unit's two paths the shortcut may come last; their sum sees what the longer one sees.
    deepest = [row for row in rows if row.shape == rows[-1].shape]
    row = max(deepest, key=lambda row: row.seen[0].field.size if row.seen[0].field else 0)
    return row.seen, row.shape


def _facts(gradient: np.ndarray, seen: Seen, shape: tuple[int, ...]) -> dict[str, Any]:
    windows = [
        window_of(s.field, n // 2) if s.field and not s.unknown else None
        for s, n in zip(seen, shape, strict=False)
    ]
    box = [w or (0, n - 1) for w, n in zip(windows, gradient.shape, strict=True)]
    half, most = _sides(gradient, [(first + last) / 2 for first, last in box])
    seen_whole = any(s.image or s.unknown for s in seen)
    spans = [
        (0, n) if seen_whole else (max(first, 0), min(last + 1, n))
        for (first, last), n in zip(box, gradient.shape, strict=True)
    ]
    (top, bottom), (left, right) = spans
    known = all(windows)
    (y, y_last), (x, x_last) = box
    return {
        "size": list(gradient.shape),
        "box": [y, x, y_last - y + 1, x_last - x + 1] if known else None,
        "largest": [s.field.size for s in seen if s.field] if known else None,
        "image": any(s.image for s in seen),
        "half": half,
        "most": most,
        "region": [top, left, bottom - top, right - left],
        "map": _cells(gradient[top:bottom, left:right]),
    }


def _sides(gradient: np.ndarray, centre: list[float]) -> tuple[int, int]:
    """Returns the sides of the squares around `centre` with 50 % and 95 % of the gradient."""
    rows, columns = (
        np.abs(np.arange(n) - c) for n, c in zip(gradient.shape, centre, strict=True)
    )
    sides = (2 * np.maximum(rows[:, None], columns[None, :]) + 1).ravel()
    order = np.argsort(sides, kind="stable")
    held = np.cumsum(gradient.ravel()[order])
    index = np.searchsorted(held, np.array([0.5, 0.95]) * held[-1])
    half, most = (int(math.ceil(sides[order[i]])) for i in index)
    return half, most


def _cells(values: np.ndarray) -> list[list[float]]:
    """Returns sums over blocks divided by the largest sum; at most CELLS along each side."""
    block = math.ceil(max(values.shape) / CELLS)
    rows, columns = (np.arange(0, n, block) for n in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    return np.round(sums / max(sums.max(), 1e-300), 3).tolist()


def picture(
    path: pathlib.Path | None, size: tuple[int, int], *, channels: int
) -> UInt8[np.ndarray, "h w c"]:
    """Returns an image file scaled and cropped to (height, width), or drawn shapes.

    Raises:
      InputError: the file cannot be read.
    """
    if path is None:
        shapes = Image.fromarray(Synthetic(size=max(96, *size))[0]["image"])
        image = shapes.convert("L" if channels == 1 else "RGB")
    else:
        array = read_image(path, channels=channels)
        image = Image.fromarray(array[..., 0] if channels == 1 else array)
    fitted = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    return pixels(fitted)
