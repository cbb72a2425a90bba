"""U-Net (Ronneberger et al., 2015, arXiv:1505.04597), small and padded, on CamVid's 11 classes.

It has an eighth of the paper's width and one level more, batch normalisation and bilinear
upsampling. It trains from scratch on random 256² crops of the 367 training frames (480 × 360).
The paper has no score on CamVid.

Measured here: 0.272 mIoU, 0.684 pixel accuracy on the 101 val frames, void ignored;
under-trained. Cost: 25 minutes on two CPU cores.

    python -m segjax.launch experiments/unet_camvid.py --data /data/camvid
"""

from segjax import losses
from segjax.data.camvid import CamVid
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.up import bilinear
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

experiment = Experiment(
    name="unet_camvid",
    model=UNet(num_classes=11, depth=5, features=8, batch_norm=True, up=bilinear),
    normalize=IMAGENET,
    train_data=CamVid(split="train"),
    eval_data=CamVid(split="val"),
    transforms=(
        RandomScale(0.5, 1.5),
        RandomCrop(256),
        RandomFlip(),
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=AdamW(Cosine(3e-3, warmup_steps=50), weight_decay=1e-2),
    batch_size=4,
    steps=1200,
    evaluation=Evaluation(every=400),
    checkpoint_every=400,
)
