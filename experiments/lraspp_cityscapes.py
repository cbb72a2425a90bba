"""LR-ASPP on MobileNetV3-Large (Howard et al., 2019, arXiv:1905.02244) on Cityscapes.

The paper, section 6.4, from scratch: 72.36 mIoU on val at output stride 16, one scale, with
half the channels in the last stage ("RF2") and 128 in the head. Measured here: not yet; the run
needs an accelerator.

The paper gives no schedule. This experiment uses that of DeepLab v3+ for Cityscapes: batch 16,
crop 769, 90,000 steps, poly 0.9 from 0.01, weight decay 4e-5. Training from scratch may need
more steps.

Differences: the head pools the entire map, where the paper pools large windows with strides.
The network has 1.75 million parameters, the paper's 1.51. To start from ImageNet weights
instead, with the full last stage:

    --set model.backbone.reduced_tail=False
    --set "init=segjax.weights.Pretrained('timm/mobilenetv3_large_100.ra_in1k')"

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/lraspp_cityscapes.py --data /data/cityscapes
"""

from segjax import losses
from segjax.backbones.mobilenet_v3 import MobileNetV3Large
from segjax.data.cityscapes import Cityscapes
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.lraspp import LRASPP
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

experiment = Experiment(
    name="lraspp_cityscapes",
    model=LRASPP(MobileNetV3Large(output_stride=16, reduced_tail=True), num_classes=19),
    normalize=IMAGENET,
    train_data=Cityscapes(split="train"),
    eval_data=Cityscapes(split="val"),
    transforms=(RandomScale(0.5, 2.0, step=0.25), RandomCrop(769), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(0.01, power=0.9),
        momentum=0.9,
        weight_decay=4e-5,
        decay_exclude=("/bias$", "/scale$", "depthwise/"),
    ),
    batch_size=16,
    steps=90_000,
    evaluation=Evaluation(every=10_000, batch_size=1),
)
