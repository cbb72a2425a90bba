"""A tiny two-stage network on images of discs and squares, as an experiment."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from segjax import losses
from segjax.experiment import UNIT, Evaluation, Experiment
from segjax.layers.conv import Conv
from segjax.layers.norm import BatchNorm
from segjax.objects import layered
from segjax.ops.anchors import anchors
from segjax.ops.roi_align import roi_align
from segjax.tasks.instance import Instance
from segjax.train.optimizer import AdamW, Constant
from segjax.transforms.geometric import RandomFlip
from segjax.transforms.objects import Canvas, PackObjects
from segjax.transforms.resize_sides import ResizeSides


@dataclasses.dataclass(frozen=True)
class Discs:
    """Images of up to `most` discs and squares on noise; the first has none."""

    count: int = 8
    most: int = 4
    size: tuple[int, int] = (40, 48)
    channels: ClassVar[int] = 3
    class_names: ClassVar[tuple[str, ...]] = ("background", "disc", "square")
    things: ClassVar[tuple[int, ...]] = (1, 2)

    @property
    def palette(self):
        colours = np.zeros((256, 3), np.uint8)
        colours[1:3] = (255, 0, 0), (0, 0, 255)
        return colours

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 60, (*self.size, 3), np.uint8)
        label = np.zeros(self.size, np.uint8)
        masks, classes = [], rng.integers(1, 3, index % (self.most + 1)).tolist()
        rows, columns = np.mgrid[: self.size[0], : self.size[1]]
        for kind in classes:
            y, x = (rng.integers(6, side - 6) for side in self.size)
            apart = np.abs(rows - y), np.abs(columns - x)
            inside = np.hypot(*apart) <= 6 if kind == 1 else np.maximum(*apart) <= 5
            image[inside] = (250, 40, 40) if kind == 1 else (40, 40, 250)
            label[inside] = kind
            masks.append(inside)
        ids = list(range(1, len(masks) + 1))
        return {
            "image": image,
            "label": label,
            "name": f"discs {index}",
            "boxes": np.array([box(mask) for mask in masks], np.float32).reshape(-1, 4),
            "classes": np.array(classes, np.int32),
            "instance_ids": np.array(ids, np.int32),
            "crowd": np.zeros(len(masks), bool),
            "instances": layered(masks, ids, self.size),
        }


def box(mask):
    """Returns the smallest box around a mask."""
    y, x = np.nonzero(mask)
    return x.min(), y.min(), x.max() + 1, y.max() + 1


class TinyDetector(nn.Module):
    """Two levels, of strides 4 and 8, and all parts of a two-stage network."""

    num_classes: int = 3
    has_masks: bool = True
    channels: int = 8
    box_pool: int = 3
    mask_pool: int = 4
    norm: Any = BatchNorm

    def setup(self):
        conv = partial(Conv, self.channels, 3)
        self.stem, self.stem_norm = conv(stride=2), self.norm()
        self.finer, self.coarser = conv(stride=2), conv(stride=2)
        self.rpn_conv, self.rpn_score, self.rpn_box = conv(), Conv(3, 1), Conv(12, 1)
        self.hidden = nn.Dense(32)
        self.scores, self.deltas = (
            nn.Dense(self.num_classes),
            nn.Dense(4 * self.num_classes, kernel_init=nn.initializers.normal(0.01)),
        )
        if self.has_masks:
            self.mask_conv, self.mask_scores = conv(), Conv(self.num_classes, 1)

    def features(self, image, *, train: bool):
        x = nn.relu(self.stem_norm(self.stem(image), train=train))
        finer = nn.relu(self.finer(x))
        return finer, nn.relu(self.coarser(finer))

    def rpn(self, features):
        levels = []
        for level in features:
            x = nn.relu(self.rpn_conv(level))
            deltas = self.rpn_box(x)
            levels.append((self.rpn_score(x), deltas.reshape(*deltas.shape[:3], 3, 4)))
        return tuple(levels)

    def anchors(self, features, canvas):
        return tuple(
            anchors(
                level.shape[1:3], stride=(stride, stride), sizes=(side,), ratios=(0.5, 1.0, 2.0)
            )
            for level, stride, side in zip(features, (4, 8), (10.0, 20.0), strict=True)
        )

    def pool(self, features, boxes, images, *, size: int):
        levels = jnp.zeros(len(boxes), jnp.int32)
        return roi_align(features[:1], boxes, images, levels, strides=(4.0,), size=size)

    def boxes(self, pooled, *, train: bool):
        x = nn.relu(self.hidden(pooled.reshape(len(pooled), -1)))
        return self.scores(x), self.deltas(x).reshape(len(x), -1, 4)

    def masks(self, pooled, *, train: bool):
        return self.mask_scores(nn.relu(self.mask_conv(pooled)))

    def __call__(self, image, *, train: bool):
        features = self.features(image, train=train)
        self.rpn(features)
        one = jnp.array([[0.0, 0, 8, 8]]), jnp.zeros(1, jnp.int32)
        found = self.boxes(self.pool(features, *one, size=self.box_pool), train=train)
        if self.has_masks:
            self.masks(self.pool(features, *one, size=self.mask_pool), train=train)
        return found


TASK = Instance(
    shortest=40,
    longest=48,
    multiple=8,
    anchors_sampled=32,
    anchors_positive=16,
    rois_sampled=16,
    rois_positive=6,
    train_before=40,
    train_after=20,
    test_before=40,
    test_after=20,
    candidates=40,
    most=10,
)

experiment = Experiment(
    name="discs",
    model=TinyDetector(),
    normalize=UNIT,
    task=TASK,
    train_data=Discs(),
    eval_data=Discs(count=3),
    transforms=(RandomFlip(), ResizeSides(40, 48), Canvas(48), PackObjects(5)),
    loss=losses.TwoStage(),
    optimizer=AdamW(Constant(0.003)),
    batch_size=4,
    steps=6,
    checkpoint_every=2,
    evaluation=Evaluation(every=6),
)
