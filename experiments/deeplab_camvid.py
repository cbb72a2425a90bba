"""DeepLab v3 (Chen et al., 2017, arXiv:1706.05587) with ResNet-50 on CamVid's 11 classes.

Trained from scratch, without ImageNet weights, at output stride 8 with multi-grid and
torchvision's head and auxiliary loss. Void is dropped from every score. Measured here: not yet.

Cost: made for an accelerator; two CPU cores take about 20 s a step.

    python -m segjax.launch experiments/deeplab_camvid.py --data /data/camvid
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.camvid import CamVid
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

experiment = Experiment(
    name="deeplab_camvid",
    model=DeepLabV3(
        ResNet50(output_stride=8, multi_grid=(1, 2, 4)),
        num_classes=11,
        rates=(12, 24, 36),
        auxiliary=True,
    ),
    normalize=IMAGENET,
    train_data=CamVid(split="train"),
    eval_data=CamVid(split="val"),
    transforms=(
        RandomScale(0.5, 2.0),
        RandomCrop(361),
        RandomFlip(),
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.02, warmup_steps=200), momentum=0.9, weight_decay=1e-4),
    batch_size=16,
    steps=12_000,
    evaluation=Evaluation(every=2000),
)
