"""Memory of a training step on each of four devices: micro-batches, parts of the state, …

    python benchmarks/memory.py [NETWORK ...] [--size SIDE] [--batch SIZE]

Nothing is run: XLA says what the compiled step needs (arguments, results and temporaries, with
shared memory counted once). The optimizer is Adam, with a running mean of the parameters.
"""

import argparse
import os

os.environ["JAX_PLATFORMS"] = "cpu"
DEVICES = 4
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

from typing import Any  # noqa: E402

import jax  # noqa: E402 - XLA reads its flags when it is first used.
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from segjax import losses  # noqa: E402
from segjax.backbones.resnet import ResNet50  # noqa: E402
from segjax.experiment import IMAGENET  # noqa: E402
from segjax.models.deeplab_v3 import DeepLabV3  # noqa: E402
from segjax.models.unet import UNet  # noqa: E402
from segjax.ops.dispatch import plain  # noqa: E402
from segjax.parallel.cluster import tune_cpu  # noqa: E402
from segjax.parallel.dry_run import dry_run  # noqa: E402
from segjax.parallel.sharing import over_devices  # noqa: E402
from segjax.tasks import dense  # noqa: E402
from segjax.train.step import init_state, make_train_step  # noqa: E402

NETWORKS = {
    "unet": lambda **fields: UNet(num_classes=21, depth=4, features=32, **fields),
    "deeplab": lambda **fields: DeepLabV3(
        ResNet50(output_stride=16, **fields), num_classes=21, rates=(6, 12, 18)
    ),
}
ROWS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "accumulate=2": {"accumulate": 2},
    "accumulate=4": {"accumulate": 4},
    "dtype=bfloat16": {"dtype": jnp.bfloat16},
    "remat=True": {"remat": True},
    "split=2,2": {"split": (2, 2)},
    "shard_state=True": {"shard_state": True},
    "shard_state=True, accumulate=4": {"shard_state": True, "accumulate": 4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"of {[*NETWORKS]}")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    tune_cpu(keeps_memory=False)  # As the commands do.
    for name in arguments.names or NETWORKS:
        print(f"\n| {name}, {arguments.batch} × {arguments.size}² | state, MiB | all, MiB |")
        print("|---|---|---|", flush=True)
        for title, options in ROWS.items():
            held, peak = measured(NETWORKS[name], options, arguments.size, arguments.batch)
            print(f"| `{title}` | {held:.0f} | {peak:.0f} |", flush=True)


def measured(make: Any, options: dict[str, Any], size: int, batch: int) -> tuple[float, float]:
    """Returns MiB of a device: of the state, and of all that is held while a step runs."""
    fields = {key: value for key, value in options.items() if key in ("dtype", "remat")}
    shared = {key: value for key, value in options.items() if key in ("split", "shard_state")}
    model, optimizer = make(**fields), optax.adam(1e-3)
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    variables = jax.eval_shape(init, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
    state = jax.eval_shape(lambda v: init_state(v, optimizer, ema=0.999), variables)
    step = make_train_step(
        dense.objective(model, losses.softmax_cross_entropy, normalize=IMAGENET),
        optimizer,
        ema=0.999,
        accumulate=options.get("accumulate", 1),
    )
    shapes = {"image": (size, size, 3), "label": (size, size)}
    examples = {key: np.zeros((batch, *shape), np.uint8) for key, shape in shapes.items()}
    examples["step"] = np.zeros(batch, np.int32)
    with plain(), dry_run() as found:  # Plain, as on a GPU or TPU.
        over_devices(step, **shared)(state, examples)
    memory = found[0].compile().memory_analysis()
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
    peak = kept + memory.temp_size_in_bytes - memory.alias_size_in_bytes
    of_batch = sum(value.nbytes for value in examples.values()) // DEVICES
    return (memory.argument_size_in_bytes - of_batch) / 2**20, peak / 2**20


if __name__ == "__main__":
    main()
