"""Transposed convolution against bilinear interpolation in the expanding path of a U-Net.

A transposed 2×2 of stride 2 learns how to enlarge; the 1×1 with interpolation has a quarter of
its parameters there and cannot draw checkerboards (Odena et al., 2016).

Reaches: see `comparison.html`. Cost: four runs of about 2 minutes on two CPU cores.

    python -m segjax.launch experiments/ablations/upsampling.py
"""

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

experiments = [
    Experiment(
        name="bilinear" if bilinear else "transposed",
        model=UNet(num_classes=6, depth=3, features=16, batch_norm=True, bilinear=bilinear),
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
    for bilinear in (False, True)
    for seed in (0, 1)
]
