"""The smallest panoptic run from the bottom up: a narrow network on drawn objects."""

from segjax import losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.experiment import Evaluation, Experiment
from segjax.models.panoptic_deeplab import PanopticDeepLab
from segjax.tasks.panoptic_deeplab import BottomUp
from segjax.train.optimizer import AdamW, Constant
from segjax.transforms.center_targets import CenterTargets

experiment = Experiment(
    name="tiny_panoptic",
    model=PanopticDeepLab(
        ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, output_stride=16),
        num_classes=4,
        things=(2, 3),
        rates=(1,),
        semantic_features=4,
        semantic_low_features=(4, 4),
        instance_features=4,
        instance_low_features=(4, 4),
        head_features=4,
        aspp_features=4,
    ),
    train_data=SyntheticObjects(size=32, most=5, panoptic=True),
    eval_data=SyntheticObjects("val", size=32, most=5, count=3, panoptic=True),
    transforms=(CenterTargets(sigma=2.0),),
    loss=losses.PanopticDeepLab(),
    optimizer=AdamW(Constant(5e-3)),
    batch_size=4,
    steps=6,
    task=BottomUp(stuff_area=16),
    checkpoint_every=2,
    log_every=1,
    evaluation=Evaluation(examples=1),
)
