"""Transposed, bilinear and sub-pixel upsampling in a U-Net (arXiv:1505.04597), on drawn shapes.

A transposed 2×2 of stride 2 learns to upsample. The 1×1 with interpolation has a quarter of its
weights and cannot draw checkerboards (Odena et al., 2016). A 1×1 to four times the channels,
rearranged to pixels (DUC, Wang et al., 2018, arXiv:1702.08502), equals the transposed one with
other random initial weights, so those two should not differ more than two seeds.

Measured here: not yet. Cost: six runs of about 1 minute on two CPU cores.

    python -m segjax.launch experiments/ablations/upsampling.py
"""

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.up import bilinear, subpixel, transposed
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

experiments = [
    Experiment(
        name=up.__name__,
        model=UNet(num_classes=6, depth=3, features=16, batch_norm=True, up=up),
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
    for up in (transposed, bilinear, subpixel)
    for seed in (0, 1)
]
