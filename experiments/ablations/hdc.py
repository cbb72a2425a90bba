"""Rates without a common factor, HDC (Wang et al., 2018, arXiv:1702.08502), on drawn shapes.

The network has a stem of stride 8, nine bottlenecks with one 3×3 each, and a head that reads
one position. Rates that are all even skip three of four positions of the field, however many
layers there are (gridding: `python -m segjax.explain rates 2 2 2 2 2 2 4 4 4`). The rates 2, 1
and 1, 2, 3 and 1, 2, 5 skip none. The paper on Cityscapes val, ResNet-101: 72.9 mIoU without
dilation, 75.0 with 2, 1, 75.4 with 1, 2, 3, and 76.4 with 1, 2, 5, 9, whose 9 is too wide here.

Measured here: not yet. Cost: ten runs of about 3 minutes on two CPU cores.

    python -m segjax.launch experiments/ablations/hdc.py
"""

from segjax import losses
from segjax.backbones.resnet import Bottleneck, ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab import DeepLabV1
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

BACKBONE = ResNet(stages=(1, 1, 6, 3), block=Bottleneck, width=16, output_stride=8)
GROUPS = {
    "rates_1": ((1, 1, 1, 1, 1, 1), (1, 1, 1)),
    "rates_2_4": ((2, 2, 2, 2, 2, 2), (4, 4, 4)),
    "rates_2_1": ((2, 1, 2, 1, 2, 1), (2, 1, 2)),
    "rates_1_2_3": ((1, 2, 3, 1, 2, 3), (1, 2, 3)),
    "rates_1_2_5": ((1, 2, 5, 1, 2, 5), (1, 2, 5)),
}

experiments = [
    Experiment(
        name=name,
        model=DeepLabV1(
            BACKBONE.clone(rates=((3, third), (4, fourth))),
            num_classes=6,
            kernel_size=1,
            rate=1,
            features=64,
            dropout=0.0,
        ),
        normalize=IMAGENET,
        train_data=Synthetic(split="train", size=96),
        eval_data=Synthetic(split="val", size=96),
        transforms=(RandomFlip(),),
        loss=losses.softmax_cross_entropy,
        optimizer=AdamW(Cosine(5e-3, warmup_steps=20)),
        batch_size=8,
        steps=1000,
        seed=seed,
        evaluation=Evaluation(batch_size=8),
        checkpoint_every=250,
    )
    for name, (third, fourth) in GROUPS.items()
    for seed in (0, 1)
]
