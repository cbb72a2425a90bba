"""DUC and HDC (Wang et al., 2018, arXiv:1702.08502) with ResNet-101 on Cityscapes.

The paper: 76.4 mIoU on val with the rates "Dilation-bigger", 72.9 with none; 77.6 on test
from fine labels. The released network has 79.1 on test at one scale. Measured here: not yet;
the run needs an accelerator.

The released code's network: a stem of three convolutions, strides on the first 1×1, rates up to
9 and 17, four branches, labels in cells of 2 × 2. Its ImageNet weights are in no layout that is
read here, so it starts from scratch and will end below the paper; a plain stem starts from
torchvision's:

    --set model.backbone.deep_stem=False --set model.backbone.frozen_norm=True
    --set model.backbone.block=segjax.backbones.resnet.Bottleneck
    --set "init=segjax.weights.Pretrained('timm/resnet101.tv_in1k')"

Rate, batch and steps are the paper's as we remember them; decay, scales and crops those of the
released config, which itself fine-tunes a trained network (1e-4, halved every 5 epochs). Where
it differs: the loss is on logits interpolated to the image, not on labels of every second
pixel; frozen statistics need weights to start from; no gradient is clipped.

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
