"""`experiment.py`: a small U-Net for the converted images, that trains on a CPU."""

import json
import pathlib
import re
import string
from collections.abc import Sequence

from segjax.data.names import printable

TEMPLATE = string.Template(
    '''"""$title: a small U-Net (arXiv:1505.04597) with its weights drawn at random.

`python -m segjax.convert` wrote this file. Once you change it, `convert` leaves it alone.

    python -m segjax.launch $command
"""

import pathlib
from functools import partial

from segjax import losses
from segjax.data.folder import Folder
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import SlidingWindow
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
${task_import}from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale, ShrinkTo

$classes
$colours
SIDE = 192  # Larger images are shrunk to this longer side. A larger side is finer, and slower.

my_data = partial(
    Folder,
    directory=str(pathlib.Path(__file__).resolve().parent),
    class_names=CLASSES,
    colours=COLOURS,
$masks)

experiment = Experiment(
    name=$name,  # Names the report, and the folder of the run: runs/<name>.
$task    model=UNet($unet),
    normalize=IMAGENET,
    train_data=my_data("splits/train"),  # The lists of names in splits/.
    eval_data=my_data("splits/val"),
    transforms=(
        ShrinkTo(SIDE),
        RandomScale(0.75, 1.5),
        RandomCrop(SIDE * 3 // 4),  # Smaller images are padded with pixels that do not count.
        RandomFlip(),  # Leave it out where left and right differ, as in text.
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ),
    loss=losses.$loss,
    optimizer=AdamW(Cosine(3e-3, warmup_steps=20), weight_decay=1e-2),
    batch_size=4,
    steps=500,
    # Windows of one size: images of many sizes need one compiled program.
    evaluation=Evaluation(predictor=(SlidingWindow(SIDE), LongestSide(SIDE))),
    checkpoint_every=250,
)
'''
)


def experiment_text(
    folder: pathlib.Path,
    class_names: Sequence[str],
    *,
    colours: Sequence[Sequence[int]] | None,
    mask_folders: Sequence[str] = (),
) -> str:
    """Returns the experiment of a converted folder.

    Args:
      folder: the result, whose name becomes the experiment's.
      class_names: by id.
      colours: for pictures, one (red, green, blue) a class; None for VOC's.
      mask_folders: for classes that overlap, the folder of each class's masks.
    """
    name = re.sub(r"[^\w.-]+", "_", folder.resolve().name).strip("._") or "converted"
    rgb = None if colours is None else [tuple(map(int, colour)) for colour in colours]
    return TEMPLATE.substitute(
        title=name,
        command=_quoted(printable(f"{folder.name or '.'}/experiment.py"))[1:-1],
        name=_quoted(name),
        classes=_tuple("CLASSES", [_quoted(each) for each in class_names]),
        colours="COLOURS = None  # In pictures; None: those of PASCAL VOC."
        if rgb is None
        else _tuple("COLOURS", [repr(each) for each in rgb]),
        masks=_mask_lines(mask_folders),
        task_import="from segjax.tasks.multilabel import Multilabel\n" if mask_folders else "",
        task="    task=Multilabel(),\n" if mask_folders else "",
        unet="num_classes=len(CLASSES), depth=4, features=12, batch_norm=True, up=bilinear",
        loss="sigmoid_cross_entropy" if mask_folders else "softmax_cross_entropy",
    )


def _mask_lines(folders: Sequence[str]) -> str:
    if not folders:
        return ""
    return (
        "    masks=(\n"
        + "".join(f"        {_quoted(each)},\n" for each in folders)
        + "    ),\n"
    )


def _quoted(text: str) -> str:
    """Returns a text as Python code, in double quotation marks."""
    return json.dumps(text, ensure_ascii=False)


def _tuple(name: str, items: Sequence[str]) -> str:
    """Returns an assignment of a tuple, on one line if it fits."""
    line = f"{name} = ({', '.join(items)}{',' * (len(items) == 1)})"
    if len(line) <= 96:
        return line
    return f"{name} = (\n" + "".join(f"    {item},\n" for item in items) + ")"
