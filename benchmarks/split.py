"""What changes when four devices share each image: gradients, exchanges, memory.

    python benchmarks/split.py steps [NAME ...] [--split ROWSxCOLUMNS] [--size HEIGHTxWIDTH]
    python benchmarks/split.py memory [--split ROWSxCOLUMNS] [--size HEIGHTxWIDTH]

`steps` takes one training step of the small networks of tests/models/small_networks.py: the
largest difference of a gradient, relative to the largest gradient, to that of devices with
images of their own; and how often devices exchange something in the compiled step. `memory`
predicts with two networks, one image on each device and one that all share, and reads from
XLA's reports what each device needs, weights included.
"""

import argparse
import collections
import os
import pathlib
import re
import runpy
import tempfile

DUMP = tempfile.TemporaryDirectory()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count=4 --xla_dump_to={DUMP.name} "
    "--xla_dump_hlo_as_text --xla_dump_hlo_module_re=jit_(taken|mapped)"
)

import jax  # noqa: E402 - XLA reads its flags when it is first used.
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from segjax import losses  # noqa: E402
from segjax.backbones.resnet import ResNet50  # noqa: E402
from segjax.models.deeplab_v3 import DeepLabV3  # noqa: E402
from segjax.models.unet import UNet  # noqa: E402
from segjax.ops.dispatch import plain  # noqa: E402
from segjax.parallel.sharing import over_devices  # noqa: E402
from segjax.parallel.spatial import map_images  # noqa: E402
from segjax.tasks import dense  # noqa: E402
from segjax.train.step import init_state, make_train_step  # noqa: E402

SMALL = pathlib.Path(__file__).parents[1] / "tests" / "models" / "small_networks.py"
KINDS = ("all-gather", "all-reduce", "all-to-all", "collective-permute")


def main() -> None:
    pair = lambda text: tuple(int(number) for number in text.split("x"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("steps", "memory"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--split", type=pair, default=(2, 2))
    parser.add_argument("--size", type=pair)
    arguments = parser.parse_args()
    if arguments.what == "memory":
        memory(arguments.size or (1024, 1024), arguments.split)
    else:
        steps(arguments.names, arguments.size or (37, 50), arguments.split)


def steps(names: list[str], size: tuple[int, int], split: tuple[int, int]) -> None:
    small = runpy.run_path(str(SMALL))
    print(f"| network | error | {' | '.join(KINDS)} |\n|---|---|{'---|' * len(KINDS)}")
    for name in names or small["MODELS"]:
        model = small["MODELS"][name]
        variables = small["variables_of"](model)
        expected = gradients(model, variables, size, (1, 1))
        found = gradients(model, variables, size, split)
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
        errors = jax.tree.map(lambda a, b: np.abs(a - b).max(), expected, found)
        exchanges = collections.Counter(
            re.findall(
                rf"= \S+ ({'|'.join(KINDS)})[a-z-]*\(", dumped("*after_optimizations.txt")
            )
        )
        counts = " | ".join(str(exchanges[kind]) for kind in KINDS)
        print(
            f"| {name} | {max(jax.tree.leaves(errors)) / largest:.1e} | {counts} |", flush=True
        )


def gradients(model, variables, size: tuple[int, int], split: tuple[int, int]):
    """The gradients of four images' loss; half of the first image is ignored."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, *size, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (4, *size)).astype(np.uint8)
    labels[0, : size[0] // 2] = 255
    step = make_train_step(
        dense.objective(model, losses.softmax_cross_entropy, normalize=lambda image: image),
        optax.sgd(1.0),
        auxiliary_weight=0.4,
    )
    before = jax.tree.map(np.asarray, variables["params"])
    state = init_state(jax.tree.map(jnp.array, variables), optax.sgd(1.0))
    with plain():
        after, _ = over_devices(step, split=split)(
            state, {"image": images, "label": labels, "step": np.zeros(4, np.int32)}
        )
    return jax.tree.map(lambda old, new: old - np.asarray(new), before, after.params)


def memory(size: tuple[int, int], split: tuple[int, int]) -> None:
    networks = {
        "U-Net, width 16": UNet(num_classes=21, depth=4, features=16),
        "DeepLab v3, ResNet-50, output stride 8, rates 12 24 36": DeepLabV3(
            ResNet50(output_stride=8), num_classes=21, rates=(12, 24, 36)
        ),
    }
    for name, model in networks.items():
        print(name, size)
        init = lambda x, model=model: model.init(jax.random.key(0), x, train=False)
        shapes = jax.eval_shape(init, jnp.zeros((1, 64, 64, 3)))
        variables = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
        predict = lambda variables, x, model=model: model.apply(variables, x, train=False)
        for parts in ((1, 1), split):
            # One image for each group of devices.
            images = np.zeros((4 // (parts[0] * parts[1]), *size, 3), np.float32)
            map_images(predict, parts)(variables, images)
            used = re.search(r"Total bytes: (\d+)", dumped("*memory-usage-report.txt"))
            mib = int(used[1]) / 2**20 if used else float("nan")
            print(f"  shared by {parts}: {mib:.0f} MiB on each device", flush=True)


def dumped(pattern: str) -> str:
    """The newest of XLA's reports of this kind; all are forgotten."""
    *_, newest = sorted(pathlib.Path(DUMP.name).glob(pattern))
    text = newest.read_text()
    for file in pathlib.Path(DUMP.name).rglob("*.txt"):
        file.unlink()
    return text


if __name__ == "__main__":
    main()
