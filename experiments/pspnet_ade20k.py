"""PSPNet (Zhao et al., 2016, arXiv:1612.01105) with ResNet-50 on ADE20K.

The paper: 41.68 mIoU, 80.04 pixel accuracy on the 2000 val images, one scale. The authors'
PyTorch code: 41.89 mIoU. Measured here: not yet; the run needs an accelerator.

The paper's recipe: batch 16, crop 473, 150,000 steps, poly 0.9 from 0.01, weight decay 1e-4,
the auxiliary loss at 0.4. From the PyTorch code, which trains for 100 epochs instead: ten times
the learning rate for the new layers, rotation and blur. segjax cannot read the layouts of
ImageNet weights for its stem of three convolutions, so it trains from scratch; expect a lower
score than the paper's. A plain stem can start from torchvision's weights:

    --set model.backbone.deep_stem=False
    --set "init=segjax.weights.Pretrained('timm/resnet50.tv_in1k')"

Differences: entire images are evaluated, not windows and mirror images at long side 512.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/pspnet_ade20k.py --data /data/ADEChallengeData2016
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.ade20k import ADE20K
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.pspnet import PSPNet
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.blur import RandomBlur
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.transforms.rotate import RandomRotate

experiment = Experiment(
    name="pspnet_ade20k",
    model=PSPNet(
        ResNet50(deep_stem=True, output_stride=8, uniform_dilation=True),
        num_classes=150,
        auxiliary=True,
    ),
    normalize=IMAGENET,
    train_data=ADE20K(split="train"),
    eval_data=ADE20K(split="val"),
    transforms=(
        RandomScale(0.5, 2.0),
        RandomRotate(10.0),
        RandomFlip(),
        RandomCrop(473),
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
    steps=150_000,
    auxiliary_weight=0.4,
    evaluation=Evaluation(every=10_000, batch_size=1),
)
