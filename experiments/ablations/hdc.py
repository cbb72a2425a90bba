"""Rates without a common factor: HDC (Wang et al., 2018, arXiv:1702.08502), small and drawn.

Nine bottlenecks, each with one 3×3, behind a stem of stride 8. Rates that are all 2, or 2 and
then 4, leave three of four pixels out of the field, however many there are of them (gridding:
`python -m segjax.explain rates 2 2 2 2 2 2 4 4 4`); 2, 1, 2, 1 and 1, 2, 3 and 1, 2, 5, 9 leave
none out. The paper on Cityscapes val, ResNet-101: 72.9 mIoU without dilation, 75.0 for 2, 1,
75.4 for 1, 2, 3, and 76.4 for 1, 2, 5, 9.

Reaches: see `comparison.html`. Cost: ten runs of about 3 minutes on two CPU cores.

    python -m segjax.launch experiments/ablations/hdc.py
"""

from segjax import losses
from segjax.backbones.resnet import Bottleneck, ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.duc import DUC
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

GROUPINGS = {
    "none": ((1, 1, 1, 1, 1, 1), (1, 1, 1)),
    "gridding": ((2, 2, 2, 2, 2, 2), (4, 4, 4)),
    "conv": ((2, 1, 2, 1, 2, 1), (2, 1, 2)),
    "rf": ((1, 2, 3, 1, 2, 3), (1, 2, 3)),
    "bigger": ((1, 2, 5, 1, 2, 5), (1, 2, 5)),
}

experiments = [
    Experiment(
        name=f"rates_{name}",
        model=DUC(
            ResNet(
                stages=(1, 1, 6, 3),
                block=Bottleneck,
                width=16,
                output_stride=8,
                rates=((3, third), (4, fourth)),
            ),
            num_classes=6,
            rates=(1,),
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
    for name, (third, fourth) in GROUPINGS.items()
    for seed in (0, 1)
]
