"""U-Net (Ronneberger et al., 2015, arXiv:1505.04597) for nuclei in microscope images, DSB 2018.

The classes are background and nucleus; touching nuclei are not separated. The network has a
quarter of the paper's width, padding and batch normalisation, and trains on random crops of
256² pixels. Give a folder with `images/`, `masks/` (0 background, 1 nucleus) and the lists
`train.txt` and `val.txt`. Its images are those of stage1_train of the Data Science Bowl 2018
(BBBC038), with all masks of an image united.

The paper has no score on this dataset. Measured here: not yet; the run needs an accelerator.
Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/unet_nuclei.py --data /data/dsb2018
"""

from segjax import losses
from segjax.data.folder import Folder
from segjax.experiment import UNIT, Evaluation, Experiment
from segjax.models.unet import UNet
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomFlipVertical, RandomScale

CLASSES = ("background", "nucleus")

experiment = Experiment(
    name="unet_nuclei",
    model=UNet(num_classes=2, features=16, batch_norm=True),
    normalize=UNIT,
    train_data=Folder("train", class_names=CLASSES),
    eval_data=Folder("val", class_names=CLASSES),
    transforms=(
        RandomScale(0.7, 1.4),
        RandomCrop(256),
        RandomFlip(),
        RandomFlipVertical(),
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=AdamW(Cosine(1e-3, warmup_steps=50), weight_decay=1e-2),
    batch_size=16,
    steps=3000,
    evaluation=Evaluation(every=500, batch_size=4),
)
