"""Mask R-CNN (He et al., 2017, arXiv:1703.06870) for single nuclei in microscope images.

The network is small enough to train on a CPU from random weights: a ResNet-18, a pyramid of 64
channels and anchors of 8 to 128 pixels. It trains on random crops of 256² pixels. Give a folder
with `images/`, `instances/` (in each PNG 0 is background, and every nucleus has its own id) and
the lists `splits/train.txt` and `splits/val.txt`; `segjax.convert` writes such a folder. The
images are those of stage1_train of the Data Science Bowl 2018 (BBBC038).

The paper has no score on this dataset. Measured here: 0.490 mask AP, 0.823 mask AP50, 0.475 box
AP and 0.643 PQ on every sixth of 120 images, trained on the other 100. Otsu's threshold with
connected regions has 0.545 mask AP50 and 0.590 PQ, a small U-Net with border weights and
connected regions 0.652 and 0.618 (`benchmarks/nuclei.py`).
Cost: 43 minutes on two busy CPU cores, 36 of them CPU time, compilation included.

    python -m segjax.launch experiments/mask_rcnn_nuclei.py --data /data/dsb2018
"""

import dataclasses

from segjax import losses
from segjax.backbones.resnet import ResNet18
from segjax.data.folder import Folder
from segjax.experiment import UNIT, Evaluation, Experiment
from segjax.models.mask_rcnn import MaskRCNN
from segjax.tasks.instance import Instance
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomFlipVertical, RandomScale
from segjax.transforms.objects import PackObjects

NUCLEI = Folder(
    "train",
    class_names=("background", "nucleus"),
    masks="instances",
    label_map=(("nonzero", 1),),
    objects="instances",
)

experiment = Experiment(
    name="mask_rcnn_nuclei",
    model=MaskRCNN(
        ResNet18(),
        num_classes=2,
        channels=64,
        hidden=256,
        anchor_sizes=(8, 16, 32, 64, 128),
    ),
    normalize=UNIT,
    train_data=NUCLEI,
    eval_data=dataclasses.replace(NUCLEI, split="val"),
    transforms=(
        RandomScale(0.7, 1.4),
        RandomCrop(256),
        RandomFlip(),
        RandomFlipVertical(),
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        PackObjects(150, excess="largest"),
    ),
    loss=losses.TwoStage(),
    task=Instance(
        shortest=None,
        rois_sampled=64,
        rois_positive=32,
        train_before=500,
        train_after=300,
        test_before=500,
        test_after=400,
        most=200,
    ),
    optimizer=AdamW(Cosine(1e-3, warmup_steps=60), weight_decay=1e-2, clip_norm=5.0),
    batch_size=4,
    steps=800,
    evaluation=Evaluation(every=400, batch_size=1),
)
