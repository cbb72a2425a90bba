"""What devices exchange in a training step, and its share of the time on 4 to 4,096 devices.

    python benchmarks/exchange.py [NETWORK ...]

Nothing is run. The bytes are those of the collectives in the step's program for four devices,
as JAX lowers it; the FLOPs are counted from its jaxpr. The times are a model of two machines:

* all-reduce of B bytes over n devices: 2 (n − 1) / n · B / bandwidth, as a ring or a torus
  needs, in each tier of the network (Thakur et al., 2005); plus a latency for each hop.
* computing: FLOPs / (peak · utilisation), two thirds of it in the backward pass.
* The sums of the gradients overlap with the backward pass; what is longer, the devices wait
  for. The sums of batch norm wait one for another, and nothing overlaps with them.

Bandwidths and peaks are the makers'. Latencies and utilisation are assumptions, stated below.
"""

import argparse
import functools
import math
import os
import re
from typing import Any, NamedTuple

os.environ["JAX_PLATFORMS"] = "cpu"
DEVICES = 4
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import jax  # noqa: E402 - XLA reads its flags when it is first used.
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

from segjax import losses  # noqa: E402
from segjax.backbones.resnet import ResNet101  # noqa: E402
from segjax.contracts import AXIS  # noqa: E402
from segjax.experiment import IMAGENET  # noqa: E402
from segjax.models.deeplab_v3 import DeepLabV3  # noqa: E402
from segjax.models.unet import UNet  # noqa: E402
from segjax.ops.dispatch import plain  # noqa: E402
from segjax.parallel.data import data_parallel  # noqa: E402
from segjax.parallel.state import LEAST  # noqa: E402
from segjax.tasks import dense  # noqa: E402
from segjax.train.flops import flops_of  # noqa: E402
from segjax.train.step import init_state, make_train_step  # noqa: E402

COUNTS = (4, 8, 64, 512, 4096)
UTILISATION = 0.4
"""The assumed share of the peak that convolutions reach."""

MOST = 0.05
"""The share of the time that may go to exchanges where a batch is said to hide them."""


class Machine(NamedTuple):
    """A kind of device and its network, bytes a second and device in each direction.

    Attributes:
      peak: FLOPs a second in bfloat16.
      group: devices that share the fast network.
      fast, slow: bandwidth within a group, and between groups.
      start: seconds until a collective begins.
      hop: seconds for each of its hops within a group, and between groups.
      torus: whether the network is a torus of three axes, all one group.
    """

    name: str
    peak: float
    group: int
    fast: float
    slow: float
    start: float
    hop: tuple[float, float]
    torus: bool = False

    def exchange(self, size: float, count: int, *, passes: int = 2) -> float:
        """Returns the seconds of an all-reduce; with one pass of an all-gather or its like."""
        inner = min(count, self.group)
        outer = -(-count // inner)
        seconds = passes * (inner - 1) / inner * size / self.fast
        # Each device of a group hands on its part of the sums of the group.
        seconds += passes * (outer - 1) / outer * (size / inner) / self.slow
        hops = 1.5 * inner ** (1 / 3) if self.torus else math.log2(inner)
        return (
            seconds
            + self.start
            + passes * (hops * self.hop[0] + math.log2(outer) * self.hop[1])
        )


MACHINES = (
    # NVIDIA's data sheets of H100 SXM and DGX H100: 989 TFLOPS bfloat16 without sparsity,
    # NVLink 900 GB/s in both directions together, a 400 Gb/s port for each of eight GPUs.
    Machine("DGX H100", 989e12, 8, 450e9, 50e9, 8e-6, (1e-6, 5e-6)),
    # cloud.google.com/tpu/docs/v5p: 459 TFLOPS, 1200 GB/s in both directions together.
    Machine("TPU v5p", 459e12, 10**6, 600e9, math.inf, 1e-6, (1e-6, 0.0), torus=True),
)


class Step(NamedTuple):
    """What a step of a network is made of.

    Attributes:
      flops: of one image.
      gradients: bytes of the gradients.
      divided: bytes of those that `shard_state` divides over 4,096 devices or fewer.
      norm: bytes of batch norm's sums.
      rounds: their number; each waits for the one before.
    """

    flops: float
    gradients: int
    divided: int
    norm: int
    rounds: int

    def computing(self, machine: Machine, images: float) -> float:
        """Returns the seconds that a device computes for so many images."""
        return images * self.flops / (machine.peak * UTILISATION)

    def waiting(self, machine: Machine, count: int, images: float, *, shard: bool) -> float:
        """Returns the seconds in which devices wait for an exchange."""
        computing = self.computing(machine, images)
        each = machine.exchange(self.norm / max(self.rounds, 1), count)
        seconds = self.rounds * each
        back = machine.exchange(self.gradients, count)
        if shard:
            gather = machine.exchange(self.divided, count, passes=1)
            seconds += max(0.0, gather - computing / 3)
            back = machine.exchange(self.gradients, count, passes=1)
        return seconds + max(0.0, back - 2 * computing / 3)

    def share(self, machine: Machine, count: int, images: float, *, shard: bool) -> float:
        """Returns the share of a step's time in which devices wait."""
        waiting = self.waiting(machine, count, images, shard=shard)
        return waiting / (waiting + self.computing(machine, images))

    def hiding(self, machine: Machine, count: int, *, shard: bool) -> int:
        """Returns the least images a device for which at most `MOST` of the time is waited."""
        images = 1
        while self.share(machine, count, images, shard=shard) > MOST:
            images += 1
        return images


NETWORKS = {
    "DeepLab v3, ResNet-101, output stride 16, 513²": (
        lambda dtype: DeepLabV3(
            ResNet101(output_stride=16, multi_grid=(1, 2, 4), dtype=dtype),
            num_classes=21,
            rates=(6, 12, 18),
        ),
        513,
    ),
    "U-Net, width 64, depth 4, 512²": (lambda dtype: UNet(num_classes=21, dtype=dtype), 512),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of names of networks")
    names = parser.parse_args().names
    for name, (make, size) in NETWORKS.items():
        if names and not any(part.lower() in name.lower() for part in names):
            continue
        step, half = (read(make(dtype), size) for dtype in (jnp.float32, jnp.bfloat16))
        print(f"\n{name}: {step.flops / 1e9:.0f} GFLOPs an image and step; a device exchanges")
        print(f"{mib(step.gradients)} MiB of gradients, {mib(step.norm)} MiB in {step.rounds}")
        print(f"sums of batch norm. In bfloat16: {mib(half.gradients)}, {mib(half.norm)} MiB.")
        print(f"shard_state divides {step.divided / step.gradients:.1%} of the parameters.")
        for machine in MACHINES:
            table(step, machine)


def table(step: Step, machine: Machine) -> None:
    print(
        f"\n| {machine.name}: devices | gradients, ms | batch norm, ms | waiting, 1 image "
        f"| 4 images | 16 images | with `shard_state`, 4 images | images for {MOST:.0%} |"
    )
    print("|---|" + "---|" * 7)
    for count in COUNTS:
        gradients = machine.exchange(step.gradients, count)
        norm = step.rounds * machine.exchange(step.norm / max(step.rounds, 1), count)
        shares = [step.share(machine, count, images, shard=False) for images in (1, 4, 16)]
        shares.append(step.share(machine, count, 4, shard=True))
        cells = [f"{1e3 * gradients:.2f}", f"{1e3 * norm:.2f}"]
        cells += [f"{share:.1%}" for share in shares]
        cells += [str(step.hiding(machine, count, shard=False))]
        print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


def mib(size: float) -> str:
    return f"{size / 2**20:.1f}"


def read(model: Any, size: int) -> Step:
    """Returns what the program of a step for four devices computes and exchanges."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    variables = jax.eval_shape(init, image)
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = jax.eval_shape(lambda v: init_state(v, optimizer), variables)
    objective = dense.objective(model, losses.softmax_cross_entropy, normalize=IMAGENET)
    step = make_train_step(objective, optimizer)
    like = lambda *shape, dtype: jax.ShapeDtypeStruct((1, *shape), dtype)
    batch = {
        "image": like(size, size, 3, dtype=jnp.uint8),
        "label": like(size, size, dtype=jnp.uint8),
        "step": like(dtype=jnp.int32),
    }
    spread = {
        key: jax.ShapeDtypeStruct((DEVICES, *v.shape), v.dtype) for key, v in batch.items()
    }
    with plain():  # As on a GPU or TPU.
        flops = flops_of(step, state, batch, axis=AXIS).total()
        text = data_parallel(step).lower(state, spread).as_text()
    sums = all_reduced(text)
    params = jax.tree.leaves(state.params)
    gradients = sum(4 * math.prod(leaf.shape) for leaf in params)
    # Two sums are the loss's; each parameter's gradient is one; the others are batch norm's.
    rounds = len(sums) - len(params) - 2
    norm = sum(sums) - gradients - 8
    return Step(flops, gradients, divided(params), norm, rounds)


def divided(params: list) -> int:
    """Returns the bytes of parameters that 4,096 devices and fewer could divide at best.

    More devices divide fewer arrays: here an array counts if 64 divide an axis of it.
    """
    fits = lambda shape: math.prod(shape) >= LEAST and any(n % 64 == 0 for n in shape)
    return sum(4 * math.prod(leaf.shape) for leaf in params if fits(leaf.shape))


def all_reduced(text: str) -> list[int]:
    """Returns the bytes of each all-reduce that a program in StableHLO runs.

    What JAX traced once is a function, which the program calls where it is needed.
    """
    parts = re.split(r"func\.func (?:\w+ )?@([\w.-]+)", text)[1:]
    functions = dict(zip(parts[::2], parts[1::2], strict=True))
    bytes_of = {"f32": 4, "bf16": 2, "i32": 4}
    kinds = re.compile(
        r'"stablehlo\.all_reduce"\(.*?\}\) : \(tensor<([0-9x]*)(f32|bf16|i32)>\)'
        r"|\bcall @([\w.-]+)",
        re.S,
    )

    @functools.cache
    def of(name: str) -> list[int]:
        """Returns the bytes of those of a function, and of the ones that it calls."""
        found = []
        for shape, dtype, called in kinds.findall(functions[name]):
            sizes = [int(n) for n in shape.split("x") if n]
            found += of(called) if called else [math.prod(sizes) * bytes_of[dtype]]
        return found

    return of("main")


if __name__ == "__main__":
    main()
