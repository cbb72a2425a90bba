"""What skip connections are worth in a U-Net: none, added, or concatenated.

Without them the expanding path has nothing but the bottom's 8 × 8 positions to draw 64 × 64
pixels from. Addition asks skip and upsampled map for the same channels (FCN, ResNet, LinkNet);
concatenation (U-Net, arXiv:1505.04597) lets the next convolution weigh both, at twice its
weights.

Reaches, mIoU on the 64 held out, mean ± deviation of two seeds: 0.503 ± 0.003 with none,
0.573 ± 0.114 added, 0.587 ± 0.106 concatenated: after 400 steps one seed in two has not yet
learnt to use its skips.

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
