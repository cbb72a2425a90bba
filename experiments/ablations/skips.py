"""Skip connections of a U-Net (arXiv:1505.04597): none, added or concatenated, drawn shapes.

Without skips the expanding path has only the bottom's 8 × 8 positions to predict 64 × 64
pixels. Addition needs skip and upsampled map to have the same channels (FCN, ResNet, LinkNet).
Concatenation (U-Net) gives the next convolution both, with twice as many weights.

Measured here, mIoU on 64 held-out images, mean ± deviation of two seeds: 0.503 ± 0.003 with
none, 0.573 ± 0.114 added, 0.587 ± 0.106 concatenated. After 400 steps one of two seeds has not
yet learnt to use its skips.

Cost: six runs of about 1 minute on two CPU cores.

    python -m segjax.launch experiments/ablations/skips.py
"""

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
from segjax.ops.skip import add_skip, concat_skip, no_skip
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

experiments = [
    Experiment(
        name=join.__name__,
        model=UNet(
            num_classes=6, depth=3, features=16, batch_norm=True, up=bilinear, join=join
        ),
        normalize=IMAGENET,
        train_data=Synthetic(split="train", size=64),
        eval_data=Synthetic(split="val", size=64),
        transforms=(RandomFlip(),),
        loss=losses.softmax_cross_entropy,
        optimizer=AdamW(Cosine(6e-3, warmup_steps=20)),
        batch_size=8,
        steps=400,
        seed=seed,
        evaluation=Evaluation(batch_size=8),
        checkpoint_every=100,
    )
    for join in (no_skip, add_skip, concat_skip)
    for seed in (0, 1)
]
