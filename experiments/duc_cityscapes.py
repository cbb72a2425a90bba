"""DUC and HDC (Wang et al., 2018, arXiv:1702.08502) with ResNet-101 on Cityscapes.

The paper: 76.4 mIoU on val with the rates "Dilation-bigger", 72.9 without dilation; 77.6 on
test from fine labels. The released network: 79.1 on test, one scale. Measured here: not yet;
the run needs an accelerator.

The network is that of the released code: a stem of three convolutions, strides on the first
1×1, rates up to 9 and 17, four branches, labels in cells of 2 × 2. segjax cannot read the
layouts of its ImageNet weights, so it trains from scratch; expect a lower score than the
paper's. A plain stem can start from torchvision's weights:

    --set model.backbone.deep_stem=False --set model.backbone.frozen_norm=True
    --set model.backbone.block=segjax.backbones.resnet.Bottleneck
    --set "init=segjax.weights.Pretrained('timm/resnet101.tv_in1k')"

Weight decay, scales and crops are those of the released configuration, which fine-tunes a
trained network. Learning rate, batch and number of steps are not verified against the paper.

Differences: the loss uses logits interpolated to the image, not the labels of every second
pixel. Batch normalisation is not frozen, because that needs pretrained weights. Gradients are
not clipped.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/duc_cityscapes.py --data /data/cityscapes
"""

from segjax import losses
from segjax.backbones.resnet import BottleneckV1, ResNet101
from segjax.data.cityscapes import Cityscapes
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.duc import DUC, HDC_BIGGER
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

experiment = Experiment(
    name="duc_cityscapes",
    model=DUC(
        ResNet101(block=BottleneckV1, deep_stem=True, output_stride=8, rates=HDC_BIGGER),
        num_classes=19,
        cell=2,
    ),
    normalize=IMAGENET,
    train_data=Cityscapes(split="train"),
    eval_data=Cityscapes(split="val"),
    transforms=(RandomScale(0.5, 1.5, step=0.25), RandomCrop(800), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(2.5e-4, power=0.9), momentum=0.9, weight_decay=5e-5),
    batch_size=12,
    steps=40_000,
    evaluation=Evaluation(every=5000, batch_size=1),
)
