"""Stage smoke: does everything run on this accelerator, and give the CPU's numbers?

A row for each family: the small network of tests/models/small_networks.py predicts two images
and takes one training step, on the CPU in float32 and on the accelerator in float32 and
bfloat16. Processes share the families, for most of the time is compilation.
"""

import contextlib
import functools
import json
import os
import pathlib
import queue
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator

from accelerator_rows import Clock, Rows

ROOT = pathlib.Path(__file__).resolve().parents[1]
FAMILIES = (
    *("deeplab", "deeplab_plus", "deeplab_cascade", "lraspp", "pspnet", "duc", "refinenet"),
    *("fc_densenet", "segnet", "fcn8s", "deeplab_v1_msc", "deeplab_v2", "fcn_resnet"),
    *("segnet_basic", "u2net", "encoder_unet", "dilation", "unet", "unet_bilinear_batch_norm"),
)
REPEATED = "two steps of DeepLab v3 R-50, 513 × 513"
OTHERS = ("images in parts", "exported program", REPEATED)
BOUNDS = {
    "f32": {"scores": 1e-3, "gradients": 1e-2},
    "bf16": {"scores": 0.1},
}
"""Largest differences to the CPU. Scores: relative to the largest score. Gradients: relative to
the largest of the same array, or to a thousandth of the network's largest if that is more."""

TIES = ("segnet", "segnet_basic")
"""Where pooled values nearly tie, other winners are unpooled: a tenth of the bf16 scores may
differ by more."""

SPREAD = 0.5
"""Largest difference of all bf16 gradients together: the norm of the difference, relative."""


def names(options) -> list[str]:
    """Returns the rows' names."""
    chosen = ("unet", "lraspp") if options.smoke else FAMILIES
    return [*(OTHERS[:2] if options.smoke else OTHERS), *chosen]


def run(left: list[str], options, rows: Rows, clock: Clock) -> Iterator[tuple[str, dict]]:
    """Yields (name, results) as the processes find them, until the time is over."""
    count = max(1, min(4, (os.cpu_count() or 1) // 4, len(left)))
    found: queue.Queue = queue.Queue()
    shares = [left[i::count] for i in range(count) if left[i::count]]
    workers = {i: _Worker(share, found, i, count, options) for i, share in enumerate(shares)}
    try:
        while workers:
            place, item = found.get(timeout=max(clock.left, 0.1))
            worker = workers[place]
            if item is not None:
                worker.left.remove(item["name"])
                yield item.pop("name"), item
                continue
            del workers[place]
            if worker.left:  # It ended in the middle: the others of its share go on.
                name, *others = worker.left
                yield name, {"ok": False, "error": f"the process ended: {worker.status()}"}
                if others:
                    workers[place] = _Worker(others, found, place, count, options)
    except queue.Empty:
        return
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.communicate()


class _Worker:
    """A process that measures some of the names, and a thread that reads what it says."""

    def __init__(self, share: list[str], found: queue.Queue, place: int, count: int, options):
        self.left = list(share)
        self.process = subprocess.Popen(
            [sys.executable, __file__, *share],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "XLA_PYTHON_CLIENT_MEM_FRACTION": str(0.8 / count),
                # Tiny settings: compiling is all of the time.
                "JAX_DISABLE_MOST_OPTIMIZATIONS": str(options.smoke),
            },
        )
        reading = (self.process, found, place)
        threading.Thread(target=_read, args=reading, daemon=True).start()

    def status(self) -> int:
        return self.process.wait()


def _read(process: subprocess.Popen, found: queue.Queue, place: int) -> None:
    with contextlib.suppress(ValueError):  # The pipe is closed when the time is over.
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found.put((place, json.loads(line)))
    found.put((place, None))


def measure(chosen: list[str]) -> None:
    """Prints a line of results for each name."""
    others = dict(zip(OTHERS, (in_parts, exported, repeated), strict=True))
    for name in chosen:
        try:
            values = others[name]() if name in others else family(name)
        except Exception as error:
            text = (str(error).splitlines() or [""])[0]
            values = {"ok": False, "error": f"{type(error).__name__}: {text}"[:300]}
        print(json.dumps({"name": name, **values}), flush=True)


@functools.cache
def small() -> dict:
    """Returns the small networks and their variables, as the tests have them."""
    return runpy.run_path(str(ROOT / "tests" / "models" / "small_networks.py"))


def batch():
    """Returns two images, and labels a third of which are ignored."""
    import numpy as np

    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (2, 33, 47)).astype(np.uint8)
    label[:, ::3] = 255
    image = rng.normal(size=(2, 33, 47, 3)).astype(np.float32)
    return {"image": image, "label": label, "step": np.zeros(2, np.int32)}


def family(name: str) -> dict:
    """Compares a family's scores and gradients with the CPU's, and two equal steps."""
    import jax
    import numpy as np

    from segjax.ops.dispatch import plain

    model = small()["MODELS"][name]
    variables = jax.tree.map(np.asarray, small()["variables_of"](model))
    with jax.default_device(jax.devices("cpu")[0]), plain():
        predict, step = programs(model, variables, on_cpu=True)
        scores, expected = predict(), step()
    result: dict = {"ok": expected["finite"]}
    for dtype in BOUNDS:
        precision = "highest" if dtype == "f32" else "default"
        with jax.default_matmul_precision(precision):
            predict, step = programs(model if dtype == "f32" else in_half(model), variables)
            found, first, second = predict(), step(), step()
        result[dtype] = compared(found, scores, first, second, expected)
        result["ok"] &= is_close(result[dtype], dtype, ties=name in TIES)
    return result


def compared(found, scores, first: dict, second: dict, expected: dict) -> dict:
    """Returns how far scores and gradients are from the CPU's, and whether two steps agree."""
    import jax
    import numpy as np

    gradients, right = first["gradients"], expected["gradients"]
    largest = max(np.abs(leaf).max() for leaf in right)
    by_array = [
        np.abs(a - b).max() / max(np.abs(b).max(), 1e-3 * largest)
        for a, b in zip(gradients, right, strict=True)
    ]
    squares = sum(((a - b) ** 2).sum() for a, b in zip(gradients, right, strict=True))
    difference = np.abs(found - scores) / np.abs(scores).max()
    equal = jax.tree.map(np.array_equal, first, second)
    return {
        "finite": bool(np.isfinite(found).all()) and first["finite"],
        "scores": float(difference.max()),
        "scores_at_90_percent": float(np.quantile(difference, 0.9)),
        "gradients": float(max(by_array)),
        "gradients_together": float(np.sqrt(squares / sum((b**2).sum() for b in right))),
        "two_steps_equal": all(map(bool, jax.tree.leaves(equal))),
    }


def is_close(values: dict, dtype: str, *, ties: bool) -> bool:
    """Whether a family is within the bounds; NaN is not."""
    bounds = BOUNDS[dtype]
    scores = "scores_at_90_percent" if ties and dtype == "bf16" else "scores"
    if dtype == "f32":
        close = values["gradients"] <= bounds["gradients"]
    else:  # An array of small gradients may be noise; all of them together may not.
        close = values["gradients_together"] <= SPREAD
    return values["finite"] and values[scores] <= bounds["scores"] and close


def in_half(model):
    """Returns the network computing in bfloat16."""
    import jax.numpy as jnp

    if hasattr(model, "backbone"):
        return model.clone(backbone=model.backbone.clone(dtype=jnp.bfloat16))
    return model.clone(dtype=jnp.bfloat16)


def programs(model, variables, *, on_cpu: bool = False):
    """Returns two functions: scores of the images, and what one training step gives."""
    import jax
    import numpy as np

    from segjax.contracts import AXIS
    from segjax.parallel.sharing import over_devices

    data = batch()
    predict = jax.jit(lambda v, x: model.apply(v, x, train=False))
    step, _ = training_step(model, variables)
    # `pmap` takes the default platform; with an axis of length one it is the same step.
    mapped = jax.jit(jax.vmap(step, in_axes=(None, 0), axis_name=AXIS))
    run = over_devices(step)

    def take():
        _, state = training_step(model, variables)
        if not on_cpu:
            return of_step(*run(state, data))
        given = jax.tree.map(lambda value: value[None], data)
        return of_step(*jax.tree.map(lambda leaf: leaf[0], mapped(state, given)))

    return (lambda: np.asarray(predict(variables, data["image"]))), take


def training_step(model, variables):
    """Returns a step whose optimizer keeps the gradients as they are, and its state."""
    import jax
    import jax.numpy as jnp
    import optax

    from segjax import losses
    from segjax.tasks import dense
    from segjax.train.step import init_state, make_train_step

    optimizer = optax.chain(optax.trace(decay=0.0), optax.scale(-1.0))
    step = make_train_step(
        dense.objective(model, losses.softmax_cross_entropy, normalize=lambda image: image),
        optimizer,
        auxiliary_weight=0.4,
    )
    return step, init_state(jax.tree.map(jnp.array, variables), optimizer)


def of_step(after, measured) -> dict:
    """Returns loss, gradients and statistics of a step, on the host."""
    import jax
    import numpy as np

    arrays = lambda tree: [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(tree)]
    return {
        "finite": bool(measured["finite"]),
        "loss": float(measured["loss"]),
        "gradients": arrays(after.opt_state[0].trace),
        "statistics": arrays(after.batch_stats),
    }


def in_parts() -> dict:
    """One step of images that devices share, against images of their own."""
    import jax
    import numpy as np

    from segjax.parallel.sharing import over_devices
    from segjax.parallel.spatial import spatial_parallel

    model = small()["MODELS"]["deeplab_plus"]
    variables = jax.tree.map(np.asarray, small()["variables_of"](model))
    # On one device the program is the one for parts, with one part.
    split = (2, 1) if jax.local_device_count() % 2 == 0 else (1, 1)
    step, _ = training_step(model, variables)
    found = []
    with jax.default_matmul_precision("highest"):
        for run in (over_devices(step), spatial_parallel(step, split)):
            _, state = training_step(model, variables)
            found.append(of_step(*run(state, batch())))
    whole, parts = (one["gradients"] for one in found)
    largest = max(np.abs(leaf).max() for leaf in whole)
    pairs = zip(whole, parts, strict=True)
    error = float(max(np.abs(a - b).max() for a, b in pairs) / largest)
    finite = all(one["finite"] for one in found)
    close = error <= BOUNDS["f32"]["gradients"]
    return {"ok": finite and close, "parts": list(split), "difference": error}


def repeated() -> dict:
    """Whether two equal steps of an ordinary network give equal bits, in bf16 as it is used."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from segjax.backbones.resnet import ResNet50
    from segjax.models.deeplab_v3 import DeepLabV3
    from segjax.parallel.sharing import over_devices

    model = DeepLabV3(ResNet50(output_stride=8, dtype=jnp.bfloat16), 21, rates=(12, 24, 36))
    rng = np.random.default_rng(0)
    data = {
        "image": rng.normal(size=(4, 513, 513, 3)).astype(np.float32),
        "label": rng.integers(0, 21, (4, 513, 513), np.uint8),
        "step": np.zeros(4, np.int32),
    }
    init = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))
    variables = jax.device_get(init(jnp.zeros((1, 65, 65, 3))))
    run = over_devices(training_step(model, variables)[0])
    first, second = (of_step(*run(training_step(model, variables)[1], data)) for _ in "12")
    equal = jax.tree.map(np.array_equal, first, second)
    same = all(map(bool, jax.tree.leaves(equal)))
    return {"ok": first["finite"], "two_steps_equal": same}


def exported() -> dict:
    """A StableHLO program, written and read again, here and on the CPU."""
    import jax
    import numpy as np
    from jax import export

    from segjax.evaluate.predictors import WholeImage
    from segjax.experiment import UNIT
    from segjax.export.stablehlo import frozen, stablehlo

    model = small()["MODELS"]["deeplab"]
    variables = small()["variables_of"](model)
    function = frozen(WholeImage(model, UNIT), variables, size=None, channels=3, fold=True)
    platforms = ("cpu", "cuda", "tpu")
    with jax.default_matmul_precision("highest"):
        data = stablehlo(function, size=None, channels=3, platforms=platforms).serialize()
    run = jax.jit(export.deserialize(bytearray(data)).call)
    image = np.random.default_rng(0).integers(0, 255, (2, 65, 97, 3), np.uint8)
    here = np.asarray(run(image))
    there = np.asarray(run(jax.device_put(image, jax.devices("cpu")[0])))
    error = float(np.abs(here - there).max())
    close = error <= BOUNDS["f32"]["scores"]
    return {"ok": close, "difference": error, "bytes": len(data)}


if __name__ == "__main__":
    measure(sys.argv[1:])
