"""A small DeepLab v3 on shapes that segjax draws itself: no download, no accelerator.

Shapes share colours and textures, so that only form tells the classes apart.

Reaches: mIoU 0.9x on 64 held-out images. Cost: about 3 minutes on two CPU cores.

    python -m segjax.launch experiments/quickstart.py
"""

from segjax import losses
from segjax.backbones.resnet import ResNet
from segjax.data.synthetic import Synthetic
from segjax.experiment import IMAGENET, Experiment
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.train.optimizer import SGD, Poly
from segjax.transforms.geometric import RandomFlip

train_data = Synthetic(split="train")
experiment = Experiment(
    name="quickstart",
    model=DeepLabV3(
        ResNet(stages=(1, 1, 1, 1), width=16, output_stride=8),
        num_classes=len(train_data.class_names),
        rates=(2, 4, 6),
    ),
    normalize=IMAGENET,
    train_data=train_data,
    eval_data=Synthetic(split="val"),
    transforms=(RandomFlip(),),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.1, warmup_steps=20), momentum=0.9, weight_decay=1e-4),
    batch_size=8,
    steps=800,
    checkpoint_every=200,
)
