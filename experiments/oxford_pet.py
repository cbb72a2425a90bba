"""U-Net (Ronneberger et al., 2015, arXiv:1505.04597) on Oxford-IIIT Pet, cats and dogs.

The dataset is read from TensorFlow Datasets, without TensorFlow. Its masks are trimaps: 1 is
the pet, 2 the background, 3 the border between them, which the annotators left open. Here the
border is ignored. To make it a third class, name it in CLASSES, and replace 255 by 2.

TFDS needs TensorFlow once, to build the dataset. In an environment that has it:

    python -c "import tensorflow_datasets as tfds
    tfds.builder('oxford_iiit_pet', file_format='array_record').download_and_prepare()"

This downloads 800 MB into ~/tensorflow_datasets; `--data DIR` names another folder.

The network has half the paper's width, padding and batch normalisation, and trains on crops of
256² pixels. The dataset's paper has no score of this kind. Measured here: not yet.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/oxford_pet.py
"""

from segjax import losses
from segjax.data.tfds_source import TFDS
from segjax.experiment import UNIT, Evaluation, Experiment
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

CLASSES = ("background", "pet")
TRIMAP = ((2, 0), (1, 1), (3, 255))

experiment = Experiment(
    name="oxford_pet",
    model=UNet(num_classes=2, features=32, batch_norm=True),
    normalize=UNIT,
    train_data=TFDS("oxford_iiit_pet", "train", class_names=CLASSES, label_map=TRIMAP),
    eval_data=TFDS("oxford_iiit_pet", "test", class_names=CLASSES, label_map=TRIMAP),
    transforms=(RandomScale(0.5, 1.5), RandomCrop(256), RandomFlip()),
    loss=losses.softmax_cross_entropy,
    optimizer=AdamW(Cosine(1e-3, warmup_steps=100), weight_decay=1e-2),
    batch_size=16,
    steps=10_000,
    evaluation=Evaluation(every=1000, batch_size=1),
)
