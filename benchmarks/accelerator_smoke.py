"""Stage smoke: does everything run on this accelerator, and give the CPU's numbers?

A row for each family: the small network of tests/models/small_networks.py predicts two images
and takes one training step, on the CPU in float32 and on the accelerator in float32 and
bfloat16. Processes share the families, for most of the time is compilation.
"""

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
OTHERS = ("images in parts", "exported program")
BOUNDS = {"f32": 1e-3, "bf16": 0.1}
"""Largest difference to the CPU, relative to the CPU's largest value: scores and gradients."""

SHARE = {"f32": 1.0, "bf16": 0.9}
"""Of the scores that must lie within: where maxima nearly tie, SegNet's winners change."""


def names(options) -> list[str]:
    """Returns the rows' names."""
    return [*OTHERS, *(("unet", "deeplab") if options.smoke else FAMILIES)]


def run(left: list[str], options, rows: Rows, clock: Clock) -> Iterator[tuple[str, dict]]:
    """Yields (name, results) as the processes find them, until the time is over."""
    workers = max(1, min(4, (os.cpu_count() or 1) // 4, len(left)))
    found: queue.Queue = queue.Queue()
    processes = []
    for share in (left[i::workers] for i in range(workers)):
        if not share:
            continue
        # Autotuning would take most of the time, and nothing is timed here.
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
        process = subprocess.Popen(
            [sys.executable, __file__, *share],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "XLA_FLAGS": flags,
                "XLA_PYTHON_CLIENT_MEM_FRACTION": str(0.8 / workers),
                # Tiny settings: compiling is all of the time.
                "JAX_DISABLE_MOST_OPTIMIZATIONS": str(options.smoke),
            },
        )
        processes.append(process)
        threading.Thread(target=_read, args=(process, found), daemon=True).start()
    ended = 0
    try:
        while ended < len(processes):
            item = found.get(timeout=max(clock.left, 0.1))
            if item is None:
                ended += 1
            else:
                yield item["name"], {k: v for k, v in item.items() if k != "name"}
    except queue.Empty:
        return
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen, found: queue.Queue) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            found.put(json.loads(line))
    found.put(None)


def worker(chosen: list[str]) -> None:
    """Prints a line of results for each name."""
    for name in chosen:
        try:
            check = {OTHERS[0]: in_parts, OTHERS[1]: exported}.get(name)
            values = check() if check else family(name)
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

    from segjax.ops.forms import plain

    model = small()["MODELS"][name]
    variables = jax.tree.map(np.asarray, small()["variables_of"](model))
    with jax.default_device(jax.devices("cpu")[0]), plain():
        predict, step = programs(model, variables, on_cpu=True)
        scores, gradients = predict(), step()
    result: dict = {"ok": True}
    for dtype in BOUNDS:
        precision = "highest" if dtype == "f32" else "default"
        with jax.default_matmul_precision(precision):
            predict, step = programs(model if dtype == "f32" else in_half(model), variables)
            found, first, second = predict(), step(), step()
        values = {
            "finite": all(bool(np.isfinite(x).all()) for x in (found, *jax.tree.leaves(first))),
            "scores": largest_difference([found], [scores]),
            "scores_within": float(
                (np.abs(found - scores) <= BOUNDS[dtype] * np.abs(scores).max()).mean()
            ),
            "gradients": largest_difference(jax.tree.leaves(first), jax.tree.leaves(gradients)),
            "two_steps_equal": all(
                jax.tree.leaves(jax.tree.map(np.array_equal, first, second))
            ),
        }
        # Gradients follow the winners of a pool as well: bounded for float32 alone.
        close = dtype == "bf16" or values["gradients"] <= BOUNDS[dtype]
        within = values["scores_within"] >= SHARE[dtype]
        result["ok"] &= values["finite"] and within and close
        result[dtype] = values
    return result | {"bounds": BOUNDS}


def largest_difference(found: list, expected: list) -> float:
    """Returns the largest difference over all arrays, relative to the largest value."""
    import numpy as np

    largest = max(float(np.abs(array).max()) for array in expected)
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / largest


def in_half(model):
    """Returns the network computing in bfloat16."""
    import jax.numpy as jnp

    if hasattr(model, "backbone"):
        return model.clone(backbone=model.backbone.clone(dtype=jnp.bfloat16))
    return model.clone(dtype=jnp.bfloat16)


def programs(model, variables, *, on_cpu: bool = False):
    """Returns two functions: scores of the images, and gradients of one training step."""
    import jax
    import numpy as np

    from segjax import parallel
    from segjax.types import AXIS

    data = batch()
    predict = jax.jit(lambda v, x: model.apply(v, x, train=False))
    step, _ = training_step(model, variables)
    # `pmap` takes the default platform; with an axis of length one it is the same step.
    mapped = jax.jit(jax.vmap(step, in_axes=(None, 0), axis_name=AXIS))
    run = parallel.over_devices(step)

    def gradients():
        _, state = training_step(model, variables)
        if on_cpu:
            after, _ = mapped(state, jax.tree.map(lambda value: value[None], data))
            after = jax.tree.map(lambda leaf: leaf[0], after)
        else:
            after, _ = run(state, data)
        moved = lambda old, new: old - np.asarray(new)
        return jax.tree.map(moved, variables["params"], after.params)

    return (lambda: np.asarray(predict(variables, data["image"]))), gradients


def training_step(model, variables):
    """Returns a step of rate 1, which takes the gradients off the parameters, and its state."""
    import jax
    import jax.numpy as jnp
    import optax

    from segjax import losses
    from segjax.train.step import init_state, make_train_step

    optimizer = optax.sgd(1.0)
    step = make_train_step(
        model,
        losses.softmax_cross_entropy,
        optimizer,
        normalize=lambda image: image,
        auxiliary_weight=0.4,
    )
    return step, init_state(jax.tree.map(jnp.array, variables), optimizer)


def in_parts() -> dict:
    """One step of images that devices share, against images of their own."""
    import jax
    import numpy as np

    from segjax import parallel

    model = small()["MODELS"]["deeplab_plus"]
    variables = jax.tree.map(np.asarray, small()["variables_of"](model))
    # On one device the program is the one for parts, with one part.
    split = (2, 1) if jax.local_device_count() % 2 == 0 else (1, 1)
    found = []
    with jax.default_matmul_precision("highest"):
        for run in (
            parallel.over_devices(training_step(model, variables)[0]),
            parallel.spatial_parallel(training_step(model, variables)[0], split),
        ):
            after, measured = run(training_step(model, variables)[1], batch())
            found.append(jax.tree.map(np.asarray, after.params))
    before = jax.tree.leaves(variables["params"])
    moved = [
        [old - new for old, new in zip(before, jax.tree.leaves(after), strict=True)]
        for after in found
    ]
    error = largest_difference(moved[1], moved[0])
    return {"ok": error <= BOUNDS["f32"], "parts": list(split), "error": error}


def exported() -> dict:
    """A StableHLO program, written and read again, here and on the CPU."""
    import jax
    import numpy as np
    from jax import export

    from segjax.evaluate.predictors import WholeImage
    from segjax.evaluate.serialise import frozen, stablehlo
    from segjax.experiment import UNIT

    model = small()["MODELS"]["deeplab"]
    variables = small()["variables_of"](model)
    function = frozen(
        WholeImage(model, UNIT), variables, size=None, channels=3, classes=False, fold=True
    )
    platforms = ("cpu", "cuda", "tpu")
    with jax.default_matmul_precision("highest"):
        data = stablehlo(function, size=None, channels=3, platforms=platforms).serialize()
    run = jax.jit(export.deserialize(bytearray(data)).call)
    image = np.random.default_rng(0).integers(0, 255, (2, 65, 97, 3), np.uint8)
    here = np.asarray(run(image))
    there = np.asarray(run(jax.device_put(image, jax.devices("cpu")[0])))
    error = float(np.abs(here - there).max())
    return {"ok": error <= BOUNDS["f32"], "error": error, "bytes": len(data)}


if __name__ == "__main__":
    worker(sys.argv[1:])
