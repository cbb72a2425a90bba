"""A small U-Net (Ronneberger et al., 2015, arXiv:1505.04597) on shapes that segjax draws.

It needs no download and no accelerator. Five kinds of shape and the background share all
colours and textures. Classes differ only in shape, so a per-pixel classifier cannot separate
them.

Measured here: 0.904 mIoU on 64 held-out images. Cost: two to four minutes on two CPU cores.

    python -m segjax.launch experiments/quickstart.py
"""

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomFlip

experiment = Experiment(
    name="quickstart",
    model=UNet(num_classes=6, depth=3, features=16, batch_norm=True, up=bilinear),
    normalize=IMAGENET,
    train_data=Synthetic(split="train", size=64),
    eval_data=Synthetic(split="val", size=64),
    transforms=(RandomFlip(),),
    loss=losses.softmax_cross_entropy,
    optimizer=AdamW(Cosine(6e-3, warmup_steps=20)),
    batch_size=8,
    steps=800,
    evaluation=Evaluation(batch_size=8),
    checkpoint_every=400,
)
