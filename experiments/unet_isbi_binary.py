"""A small U-Net (arXiv:1505.04597) with one sigmoid plane on the ISBI 2012 membranes.

The plane is 1 inside a cell. The network of Ronneberger et al. (2015) has three levels and a
quarter of its width, is padded, and trains on random crops. Dice and IoU of the cells are
scored on the six held-out sections. The paper has no such score.

For the same network with two classes under a softmax add these three settings; Dice of the
cells is then 2 IoU / (1 + IoU):

    --set "task=segjax.tasks.semantic.Semantic()" --set model.num_classes=2
    --set loss=segjax.losses.softmax_cross_entropy

Measured here: Dice 0.952, IoU 0.909. Cost: about seven minutes on two CPU cores.

    python -m segjax.launch experiments/unet_isbi_binary.py --data /data/isbi2012
"""

from segjax import losses
from segjax.data.isbi import ISBI2012
from segjax.experiment import Evaluation, Experiment, Normalize
from segjax.models.unet import UNet
from segjax.tasks.multilabel import Multilabel
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import (
    RandomCrop,
    RandomFlip,
    RandomFlipVertical,
    RandomRotate90,
)

experiment = Experiment(
    name="unet_isbi_binary",
    task=Multilabel(),
    model=UNet(num_classes=1, depth=3, features=16, batch_norm=True),
    normalize=Normalize(mean=(0.5,), std=(0.25,)),
    train_data=ISBI2012(split="train"),
    eval_data=ISBI2012(split="val"),
    transforms=(RandomCrop(192), RandomFlip(), RandomFlipVertical(), RandomRotate90()),
    loss=losses.sigmoid_cross_entropy,
    optimizer=AdamW(Cosine(3e-3, warmup_steps=20), weight_decay=1e-2),
    batch_size=2,
    steps=500,
    evaluation=Evaluation(batch_size=2),
    checkpoint_every=250,
)
