"""Your own images with masks of several classes: a small U-Net (arXiv:1505.04597).

Change the lines above `my_data` to fit your folder. A mask is an image of its photograph's size
whose pixel values are class ids, 0, 1, 2, …, or 255 for pixels that do not count.

Measured here: 0.266 mIoU and 0.745 pixel accuracy on 92 frames of CamVid (11 classes), of which
14 were held out. Weights that were trained on other images would do better.

Cost: six minutes of CPU time, about three minutes on two idle cores.

    python -m segjax.launch experiments/folder.py --data my_data
"""

from functools import partial

from segjax import losses
from segjax.data.folder import Folder
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import SlidingWindow
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale, ShrinkTo

CLASSES = ("background", "road", "car")  # The names of ids 0, 1, 2, … in your masks.
IMAGE = "images/{stem}.*"  # {stem} is what an image and its mask have in common:
MASK = "masks/{stem}.*"  # "labels/{stem}_mask.png", "labels/{stem:0>8}.png", …
LABEL_MAP = ()  # Other ids: ((255, 1),) reads 255 as class 1; ((7, 255),) ignores 7.
COLOURS = None  # In pictures: ((0, 0, 0), (128, 64, 128), …), one for each class. None: VOC's.
SIDE = 192  # Larger images are shrunk to this longer side. A larger side is finer, and slower.

# A fifth of the images is for validation: a hash of each name decides which.
my_data = partial(
    Folder,
    image=IMAGE,
    mask=MASK,
    class_names=CLASSES,
    label_map=LABEL_MAP,
    colours=COLOURS,
    held_out=0.2,
)

experiment = Experiment(
    name="folder",  # Names the report, and the folder of the run: runs/folder.
    model=UNet(num_classes=len(CLASSES), depth=4, features=12, batch_norm=True, up=bilinear),
    normalize=IMAGENET,
    train_data=my_data("train"),
    eval_data=my_data("val"),
    transforms=(
        ShrinkTo(SIDE),
        RandomScale(0.75, 1.5),
        RandomCrop(SIDE * 3 // 4),  # Smaller images are padded with pixels that do not count.
        RandomFlip(),  # Leave it out where left and right differ, as in text.
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=AdamW(Cosine(3e-3, warmup_steps=20), weight_decay=1e-2),
    batch_size=4,
    steps=500,
    # Windows of one size: images of many sizes need one compiled program.
    evaluation=Evaluation(predictor=(SlidingWindow(SIDE), LongestSide(SIDE))),
    checkpoint_every=250,
)
