"""The memory that `launch --plan` predicts against what a training step takes, on a CPU.

    python benchmarks/plan.py memory [NAME ...] [--cores N]
    python benchmarks/plan.py largest [NAME ...] [--memory GIB]

`memory` compares the peak of the training step and of the evaluation of eight networks. Each is
measured in a process of its own: the step is compiled; then the process's highest resident size
is reset (`/proc/self/clear_refs`) and three steps are taken. The measured peak is that highest
size, without what the process held before the first step, with the arrays that were there.
It includes what XLA does not plan: buffers of single operations, and code that runs first. The
buffers depend on when threads run; with `--cores 1` they are the same each time.

`largest` asks the plan for the largest batch that fits `--memory`, and measures that batch, the
next one, and a batch half as large again.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MIB, GIB = 2**20, 2**30
PROGRAMS = tempfile.TemporaryDirectory()
"""Programs that are compiled twice in a process are read from here the second time."""
OBJECTS = Path(__file__).parents[1] / "experiments" / "mask_rcnn_objects.py"
SIZES = {
    "fcn8s": (224, 2),
    "unet": (256, 4),
    "deeplab_v3": (257, 4),
    "deeplab_v3_plus": (257, 4),
    "fc_densenet56": (224, 2),
    "pspnet": (233, 2),
    "segnet": (256, 2),
    "mask_rcnn": (256, 8),
}
"""Side of the images and their number in a batch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("memory", "largest", "child"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--memory", type=float, default=2.0)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--cores", type=int, help="use only the first of the cores there are")
    arguments = parser.parse_args()
    if arguments.cores is not None:
        if arguments.cores < 1:
            parser.error(f"--cores {arguments.cores}: use at least 1.")
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    names = arguments.names or list(SIZES)
    if arguments.what == "child":
        print(json.dumps(measured(names[0], arguments.batch)))
    elif arguments.what == "memory":
        memory(names)
    else:
        largest(names, arguments.memory)


def memory(names: list[str]) -> None:
    print("| network | images | predicted | measured | ratio | evaluation | measured | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        side, batch = SIZES[name]
        found = in_child(name, batch)
        cells = [name, f"{batch} x {side}²"]
        for phase in ("training", "evaluation"):
            predicted, taken = found[phase]
            cells += [mib(predicted), mib(taken), f"{predicted / taken:.3f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def largest(names: list[str], gib: float) -> None:
    from segjax.planning.search import largest_that_fits
    from segjax.planning.training import TrainingStep

    print(f"| network | batch | predicted | measured | of {gib:g} GiB |\n|---|---|---|---|---|")
    for name in names:
        checked = plan_of(name, SIZES[name][1])
        step = TrainingStep(checked.plan, checked.batch)
        found = largest_that_fits(step.peak, gib * GIB, start=step.share, fixed=0)
        for batch in (found.size, found.size + 1, found.size * 3 // 2 + 1):
            predicted, taken = in_child(name, batch)["training"]
            share = f"{taken / (gib * GIB):.1%}"
            print(
                f"| {name} | {batch} | {mib(predicted)} | {mib(taken)} | {share} |", flush=True
            )


def in_child(name: str, batch: int) -> dict:
    command = [sys.executable, __file__, "child", name, "--batch", str(batch)]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": PROGRAMS.name}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def plan_of(name: str, batch: int):
    """The checked experiment of a network on drawn images of its size."""
    from segjax.parallel import cluster

    cluster.tune_cpu()
    from segjax.planning.checked import checked

    return checked(experiment_of(name, batch))


def experiment_of(name: str, batch: int):
    from segjax import losses
    from segjax.backbones.resnet import ResNet50
    from segjax.backbones.vgg import CEIL, VGG16
    from segjax.data.synthetic import Synthetic
    from segjax.experiment import Evaluation, Experiment, load, override
    from segjax.models.deeplab_v3 import DeepLabV3, DeepLabV3Plus
    from segjax.models.fc_densenet import FCDenseNet56
    from segjax.models.fcn import FCN8s
    from segjax.models.pspnet import PSPNet
    from segjax.models.segnet import SegNet
    from segjax.models.unet import UNet
    from segjax.train.optimizer import SGD, Poly

    side = SIZES[name][0]
    evaluation = Evaluation(batch_size=batch)
    if name == "mask_rcnn":
        found = load(OBJECTS)
        for setting in (
            f"train_data.size={side}",
            f"eval_data.size={side}",
            "model.backbone.width=64",
        ):
            found = override(found, setting)
        return dataclasses.replace(found, batch_size=batch, evaluation=evaluation)
    resnet = ResNet50(output_stride=16)
    models = {
        "fcn8s": lambda: FCN8s(VGG16(pool=CEIL), num_classes=6, features=512),
        "unet": lambda: UNet(num_classes=6, features=32),
        "deeplab_v3": lambda: DeepLabV3(resnet, num_classes=6, rates=(6, 12, 18)),
        "deeplab_v3_plus": lambda: DeepLabV3Plus(resnet, num_classes=6, rates=(6, 12, 18)),
        "fc_densenet56": lambda: FCDenseNet56(num_classes=6),
        "pspnet": lambda: PSPNet(ResNet50(output_stride=8), num_classes=6),
        "segnet": lambda: SegNet(num_classes=6),
    }
    return Experiment(
        name=name,
        model=models[name](),
        train_data=Synthetic(split="train", size=side),
        eval_data=Synthetic(split="val", size=side, count=batch),
        loss=losses.softmax_cross_entropy,
        optimizer=SGD(Poly(1e-4), momentum=0.9),
        batch_size=batch,
        steps=10,
        evaluation=evaluation,
    )


def measured(name: str, batch: int) -> dict[str, tuple[float, float]]:
    """(predicted, measured) bytes of the training step and of the evaluation."""
    import jax
    import numpy as np

    from segjax.parallel.sharing import on_devices
    from segjax.planning.evaluating import evaluation_cost, evaluation_images
    from segjax.planning.limit import Limit
    from segjax.planning.probe import made_up_state
    from segjax.planning.requirements import Requirements
    from segjax.planning.training import TrainingStep

    checked = plan_of(name, batch)
    plan, examples = checked.plan, checked.batch
    step = TrainingStep(plan, examples)
    found = Requirements(step, step.cost(), 0.0, Limit(None, ""))
    state = on_devices(made_up_state(plan))

    def train():
        nonlocal state
        for _ in range(3):
            state, _ = step.take(state, examples)
            jax.block_until_ready(state)

    trained = (found.training_peak, peak_during(train))
    images = evaluation_images(plan.experiment)
    found.evaluation = evaluation_cost(plan, images)
    scorer, variables = plan.scorer(), jax.device_get(state.variables)
    pictures = np.zeros((batch, *images.largest), images.dtype)
    scorer.predictions(variables, pictures)  # Its program is compiled anew.
    evaluated = peak_during(lambda: scorer.predictions(variables, pictures))
    return {"training": trained, "evaluation": (found.evaluation_peak, evaluated)}


def peak_during(work) -> float:
    """The most bytes that arrays and operations hold while `work` runs."""
    from segjax.planning.measured import PeakMemory

    memory = PeakMemory()
    with memory.measuring():
        work()
    return memory.bytes


def mib(number: float) -> str:
    return f"{number / MIB:,.0f} MiB"


if __name__ == "__main__":
    main()
