"""The smallest run that has everything: a U-Net of one level on drawn shapes."""

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import Evaluation, Experiment
from segjax.models.unet import UNet
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomCrop, RandomFlip

experiment = Experiment(
    name="tiny",
    model=UNet(num_classes=6, depth=1, features=4, batch_norm=True, dropout=0.2),
    train_data=Synthetic(size=32),
    eval_data=Synthetic(split="val", size=32, count=3),
    transforms=(RandomFlip(), RandomCrop(24)),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.05)),
    batch_size=4,
    steps=12,
    ema=0.9,
    checkpoint_every=4,
    log_every=1,
    evaluation=Evaluation(examples=1),
)
