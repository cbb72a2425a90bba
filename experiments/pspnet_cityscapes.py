"""PSPNet (Zhao et al., 2016, arXiv:1612.01105) with ResNet-101 on Cityscapes.

The authors' PyTorch code: 78.63 mIoU on val, one scale, windows of 713² and their mirror
images. Measured here: not yet; the run needs an accelerator.

The paper's recipe: batch 16, crop 713, 90,000 steps, poly 0.9 from 0.01, weight decay 1e-4, the
auxiliary loss at 0.4. From the PyTorch code, which trains for 200 epochs instead: ten times the
learning rate for the new layers, rotation and blur. segjax cannot read the layouts of ImageNet
weights for its stem of three convolutions, so it trains from scratch; expect a lower score than
the paper's. A plain stem can start from torchvision's weights:

    --set model.backbone.deep_stem=False
    --set "init=segjax.weights.Pretrained('timm/resnet101.tv_in1k')"

Differences: entire images are evaluated, not windows.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/pspnet_cityscapes.py --data /data/cityscapes
"""

from segjax import losses
from segjax.backbones.resnet import ResNet101
from segjax.data.cityscapes import Cityscapes
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.pspnet import PSPNet
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.blur import RandomBlur
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.transforms.rotate import RandomRotate

experiment = Experiment(
    name="pspnet_cityscapes",
    model=PSPNet(
        ResNet101(deep_stem=True, output_stride=8, uniform_dilation=True),
        num_classes=19,
        auxiliary=True,
    ),
    normalize=IMAGENET,
    train_data=Cityscapes(split="train"),
    eval_data=Cityscapes(split="val"),
    transforms=(
        RandomScale(0.5, 2.0),
        RandomRotate(10.0),
        RandomFlip(),
        RandomCrop(713),
        RandomBlur(),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(
        Poly(0.01, power=0.9),
        momentum=0.9,
        weight_decay=1e-4,
        multipliers=(("^(ppm|head|auxiliary_head)/", 10.0),),
    ),
    batch_size=16,
    steps=90_000,
    auxiliary_weight=0.4,
    evaluation=Evaluation(every=10_000, batch_size=1),
)
