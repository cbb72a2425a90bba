"""The smallest panoptic run from the top down: a narrow network on drawn objects."""

from functools import partial

from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.experiment import Evaluation, Experiment
from segjax.layers.norm import GroupNorm
from segjax.models.panoptic_fpn import PanopticFPN
from segjax.tasks.panoptic_fpn import TopDown
from segjax.train.optimizer import AdamW, Constant
from segjax.transforms.objects import Canvas, PackObjects

experiment = Experiment(
    name="tiny_panoptic_fpn",
    model=PanopticFPN(
        ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8),
        num_classes=4,
        things=(2, 3),
        channels=16,
        hidden=32,
        box_pool=4,
        mask_pool=4,
        anchor_sizes=(8.0, 12.0, 16.0, 24.0, 32.0),
        semantic_features=8,
        semantic_norm=partial(GroupNorm, groups=4),
    ),
    train_data=SyntheticObjects(size=48, most=4, panoptic=True),
    eval_data=SyntheticObjects("val", size=48, most=4, count=3, panoptic=True),
    transforms=(Canvas((64, 64)), PackObjects(4)),
    loss=losses.PanopticFPN(),
    optimizer=AdamW(Constant(3e-3), clip_norm=5.0),
    batch_size=4,
    steps=6,
    task=TopDown(
        shortest=None,
        anchors_sampled=32,
        anchors_positive=16,
        rois_sampled=16,
        rois_positive=8,
        train_before=40,
        train_after=40,
        test_before=40,
        test_after=40,
        candidates=40,
        most=8,
        least_score=0.3,
        stuff_area=16,
    ),
    checkpoint_every=2,
    log_every=1,
    evaluation=Evaluation(examples=1),
)
