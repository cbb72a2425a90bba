"""What a folder of mixed sizes and a very large image cost, by the way they are predicted.

    python benchmarks/predictors.py sizes [--images 200]     compilations and images per second
    python benchmarks/predictors.py memory [--side 10000]    peak memory of one large image
    python benchmarks/predictors.py padding WORKDIR          what padded sizes change in a run

Drawn images; a U-Net of depth 2 and width 4 with 21 classes, random weights. `memory` runs in a
fresh process and counts all of it: interpreter, JAX, the image (3 bytes a pixel), the labels.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np

from segjax import metrics
from segjax.errors import run_command
from segjax.evaluate.compiled import predictor
from segjax.evaluate.windows import OverlapTile, PadToMultiple, SlidingWindow
from segjax.experiment import UNIT
from segjax.models.unet import UNet
from segjax.parallel import cluster
from segjax.train.checkpoint import Checkpoints
from segjax.train.evaluated import evaluated
from segjax.train.parts import check_data
from segjax.train.workdir import open_run

COMPILED = "/jax/core/compile/backend_compile_duration"
MODES = {
    "SlidingWindow(129)": (SlidingWindow(129, batch_size=4),),
    "PadToMultiple(64)": (PadToMultiple(64),),
    "exact": (),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    sizes = kinds.add_parser("sizes")
    sizes.add_argument("--images", type=int, default=200)
    sizes.set_defaults(run=lambda arguments: mixed_sizes(arguments.images))
    memory = kinds.add_parser("memory")
    memory.add_argument("--side", type=int, default=10_000)
    memory.add_argument("--valid", action="store_true", help="overlap tiles, valid U-Net")
    memory.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    memory.set_defaults(run=large_image)
    padding = kinds.add_parser("padding")
    padding.add_argument("workdir", type=pathlib.Path)
    padding.set_defaults(run=lambda arguments: padded(arguments.workdir))
    arguments = parser.parse_args()
    cluster.tune_cpu()
    return run_command(lambda: arguments.run(arguments))


def network(*, valid: bool = False):
    """A U-Net with its variables."""
    model = UNet(num_classes=21, depth=2, features=4, valid=valid)
    image = jnp.zeros((1, *model.canvas(64, 64), 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda s: rng.normal(0, 0.3, s.shape).astype(s.dtype), shapes)


def drawn(count: int) -> Iterator[np.ndarray]:
    """Images of as many sizes, sides of 97 to 256 pixels."""
    rng = np.random.default_rng(0)
    sides = rng.permutation(160 * 160)[:count]
    for side in sides:
        size = (97 + int(side) % 160, 97 + int(side) // 160, 3)
        yield rng.integers(0, 256, size, np.uint8)


def mixed_sizes(count: int) -> None:
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compilations.append(seconds) if event == COMPILED else None
    )
    model, variables = network()
    images = list(drawn(count))
    print(f"{count} images of {len({i.shape for i in images})} sizes, {jax.devices()[0]}")
    for name, wrappers in MODES.items():
        predict = predictor(model, UNIT, wrappers=wrappers)
        compilations.clear()
        for attempt in ("first", "again"):
            start, before = time.perf_counter(), len(compilations)
            for image in images:
                predict.classes(variables, image[None])
            took = time.perf_counter() - start
            print(
                f"{name:20} {attempt}: {len(compilations) - before:4} compilations, "
                f"{count / took:7.2f} images/s",
                flush=True,
            )


def large_image(arguments: argparse.Namespace) -> None:
    if not arguments.here:
        again = [sys.executable, __file__, "memory", "--here", "--side", str(arguments.side)]
        again += ["--valid"] if arguments.valid else []
        subprocess.run(again, check=True)
        return
    model, variables = network(valid=arguments.valid)
    wrapper = OverlapTile(388) if arguments.valid else SlidingWindow(513, batch_size=1)
    predict = predictor(model, UNIT, wrappers=(wrapper,))
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    times = -(-arguments.side // 500)
    image = np.tile(tile, (times, times, 1))[: arguments.side, : arguments.side]
    image = np.ascontiguousarray(image)
    start = time.perf_counter()
    labels = predict.classes(variables, image[None])
    took = time.perf_counter() - start
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{wrapper}, {image.shape[0]} x {image.shape[1]} pixels: peak {peak:.2f} GiB, "
        f"{took:.0f} s, {len(np.unique(labels))} classes found"
    )


def padded(workdir: pathlib.Path) -> None:
    experiment = open_run(workdir)
    check_data(experiment, "eval_data")
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step, variables = checkpoints.restore_variables()
    data, k = experiment.eval_data, len(experiment.eval_data.class_names)
    exact = evaluated(experiment)
    print(f"{workdir}, step {step}, {len(data)} images")
    for multiple in (16, 64, 128):
        other = PadToMultiple(multiple)(exact)
        counts = {name: np.zeros((k, k), np.int64) for name in ("exact", "padded")}
        changed = pixels = 0
        for i in range(len(data)):
            # Cut, so that there is something to pad: eval images may be of a multiple already.
            image, label = (data[i][key][:-7, :-13] for key in ("image", "label"))
            found = [p.classes(variables, image[None])[0] for p in (exact, other)]
            for total, prediction in zip(counts.values(), found, strict=True):
                total += metrics.confusion_matrix(label, prediction, k)
            changed += int((found[0] != found[1]).sum())
            pixels += label.size
        scores = "  ".join(f"{n} {metrics.mean_iou(c):.4f}" for n, c in counts.items())
        print(f"to {multiple:4}: {changed / pixels:.3%} of the pixels change; mIoU {scores}")


if __name__ == "__main__":
    sys.exit(main())
