"""Panoptic-DeepLab (Cheng et al., 2020, arXiv:1911.10194) with ResNet-50 on Cityscapes.

The authors' deeplab2 publishes 59.8 PQ and 76.0 mIoU on val for this recipe, at output stride
32 and one scale. The paper has 63.0 PQ with Xception-71 at 16. Measured here: not yet; the run
needs an accelerator, Cityscapes with its `instanceIds`, and ImageNet weights.

The recipe of deeplab2: Adam, batch 8, crops of 1025 × 2049, 60,000 steps, poly 0.9 from 2.5e-4,
ASPP rates 3, 6 and 9. To group, a centre has the most heat of 13 × 13 pixels, and a class of
stuff needs 2048 pixels.

Differences: the ImageNet weights are torchvision's, with their normalisation. BatchNorm decays
by 0.9. deeplab2 keeps up to 400 centres of an image, the paper 200, as here.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/panoptic_deeplab_cityscapes.py --data /data/cityscapes
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.cityscapes import Cityscapes
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.panoptic_deeplab import PanopticDeepLab
from segjax.tasks.panoptic_deeplab import BottomUp
from segjax.train.optimizer import AdamW, Poly
from segjax.transforms.center_targets import CenterTargets
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.weights import Pretrained

experiment = Experiment(
    name="panoptic_deeplab_cityscapes",
    model=PanopticDeepLab(
        ResNet50(output_stride=32),
        num_classes=19,
        things=(11, 12, 13, 14, 15, 16, 17, 18),
        rates=(3, 6, 9),
    ),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet50.tv_in1k"),
    train_data=Cityscapes(split="train", objects=True),
    eval_data=Cityscapes(split="val", objects=True),
    transforms=(
        RandomScale(0.5, 2.0, step=0.1),
        RandomCrop((1025, 2049)),
        RandomFlip(),
        CenterTargets(),
    ),
    loss=losses.PanopticDeepLab(),
    optimizer=AdamW(Poly(2.5e-4, power=0.9), weight_decay=0.0),
    batch_size=8,
    steps=60_000,
    task=BottomUp(kernel=13, stuff_area=2048),
    evaluation=Evaluation(every=10_000, batch_size=1),
)
