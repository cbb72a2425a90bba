"""Writes the table of every experiment's network and what it costs; nothing is run.

python docs/make_networks.py docs/networks.md
"""

import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import flax.linen as nn

from segjax.backbones.mobilenet_v3 import MobileNetV3Large
from segjax.backbones.resnet import ResNet50
from segjax.experiment import Experiment, load
from segjax.explain.model import facts
from segjax.explain.trace import trace
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.fcn import FCN
from segjax.models.lraspp import LRASPP
from segjax.transforms.geometric import RandomCrop

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"
SIDE = 513
HEAD = (
    "| experiment | network | parameters | multiply-adds | receptive field | output stride |",
    "|---|---|---|---|---|---|",
)
TORCHVISION: tuple[tuple[str, nn.Module, int, float], ...] = (
    (
        "deeplabv3_resnet50",
        DeepLabV3(ResNet50(output_stride=8), 21, (12, 24, 36)),
        1024,
        178.722,
    ),
    ("fcn_resnet50", FCN(ResNet50(output_stride=8), 21), 1024, 152.717),
    (
        "deeplabv3_mobilenet_v3_large",
        DeepLabV3(MobileNetV3Large(output_stride=16), 21, (12, 24, 36)),
        40,
        10.452,
    ),
    ("lraspp_mobilenet_v3_large", LRASPP(MobileNetV3Large(output_stride=16), 21), 0, 2.086),
)
"""Name, the network here, channels that its auxiliary head takes, torchvision's own count."""


def rows() -> Iterator[str]:
    """A line of the table for each experiment file."""
    for path in sorted(EXPERIMENTS.glob("*.py")):
        print(path.name, file=sys.stderr, flush=True)
        yield row(load(path))


def row(experiment: Experiment) -> str:
    """An experiment's line; its crop's size where the network cannot take 513²."""
    channels = getattr(experiment.train_data, "channels", 3)
    try:
        size = (SIDE, SIDE)
        traced = trace(experiment.model, size, channels=channels)
    except ValueError:
        (crop,) = (t.size for t in experiment.transforms if isinstance(t, RandomCrop))
        size = crop if isinstance(crop, tuple) else (crop, crop)
        traced = trace(experiment.model, size, channels=channels)
    found = facts(experiment, traced, size, channels)
    unused = sum(found["unused_parameters"].values())
    cells = (
        f"`{experiment.name}.py`",
        name(experiment.model),
        f"{found['parameters']:,}" + (f" ({unused:,} in training only)" if unused else ""),
        _billions(found) + ("" if size == (SIDE, SIDE) else f" at {size[0]} × {size[1]}"),
        _field(found["answer"], found["logits"]),
        f"{found['logits']['stride'][0]:g}" if found["logits"]["stride"][0] else "not followed",
    )
    return f"| {' | '.join(cells)} |"


def name(model: nn.Module) -> str:
    """A network's class, and its backbone's with the units of each stage where it has them."""
    backbone = getattr(model, "backbone", None)
    if backbone is None:
        return type(model).__name__
    stages = getattr(backbone, "stages", None)
    units = f" {stages}" if stages else ""
    return f"{type(model).__name__} on {type(backbone).__name__}{units}"


def _billions(found: dict[str, Any]) -> str:
    return f"{found['multiply_adds'] / 1e9:,.2f} G"


def _field(answer: dict[str, Any], logits: dict[str, Any]) -> str:
    if answer["unknown"]:
        return "not followed" if logits["unknown"] else f"{_field(logits, logits)} (scores)"
    if answer["image"] or None in answer["field"]:
        return "whole image"
    sides = answer["field"]
    return " × ".join(map(str, sides if len(set(sides)) > 1 else sides[:1]))


def comparison() -> Iterator[str]:
    """A line for each of torchvision's networks at 520², whose maps of stride 8 are 65²."""
    for label, model, channels, published in TORCHVISION:
        found = trace(model, (520, 520)).rows
        ours = sum(row.multiply_adds for row in found if row.operation != "resize")
        hidden = channels // 4
        head = 65**2 * (9 * channels * hidden + 21 * hidden)
        numbers = (ours, head, ours + head, published * 1e9)
        yield f"| {label} | {' | '.join(f'{n / 1e9:.3f} G' for n in numbers)} |"


PAGE = """# Networks and what they cost

Written by `python docs/make_networks.py docs/networks.md` with what `python -m segjax.explain
model EXPERIMENT.py --no-compile --size 513` finds; a test holds the parameters to today's.

* **Parameters** are all that is trained; those of auxiliary heads, which prediction leaves out,
  are given apart.
* **Multiply-adds** are of the mathematics, for one image of 513 × 513 where nothing else is
  said: every tap of every convolution, those on padding too, and the products that interpolate
  scores; not what the fast forms on a CPU leave out. A FLOP count is about twice as high.
* **Receptive field**: pixels along a side that one pixel of the answer can depend on, as if the
  image had no borders; "whole image" where a branch pools the image. (Real networks weigh its
  middle: `--out FILE.png` draws that.) "(scores)": of one score, where the way from the scores
  to the image is not followed, that of DUC's shuffled channels. Neither are SegNet's unpooling
  by positions and the edges that U²-Net's poolings repeat.
* **Output stride**: pixels of the image from one position of the last convolution to the next,
  the scores before they are brought to the image. Decoders end finer than their encoders.

{table}

The files in `experiments/ablations/` hold several networks each and are left out; they differ
by the field that each file's docstring names.

## Held against torchvision

torchvision's documentation gives multiply-adds (it calls them GFLOPS) for images of 520 × 520,
without interpolation, but with the auxiliary head where its weights have one, since its code
runs that in evaluation too. Here prediction leaves it out; its 3 × 3 and 1 × 1 are worked out
by hand in the third column.

| network | here | auxiliary head | both | torchvision |
|---|---|---|---|---|
{torchvision}
"""


def main(target: str) -> None:
    page = PAGE.format(table="\n".join((*HEAD, *rows())), torchvision="\n".join(comparison()))
    pathlib.Path(target).write_text(page)


if __name__ == "__main__":
    main(*sys.argv[1:])
