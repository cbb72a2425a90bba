"""DeepLab v3+ (Chen et al., 2018, arXiv:1802.02611) with ResNet-50 on CamVid's 11 classes.

It trains from scratch, at output stride 16, on random crops of 352 × 480 pixels of the 367
training frames (480 × 360). It is scored on the 101 val frames, void ignored. To score the 233
test frames afterwards: `--workdir runs/deeplab_v3_plus_camvid --evaluate --set
eval_data.split=test`.

The paper has no score on CamVid. Measured here: not yet; the run needs an accelerator. For a
smaller backbone: `--set "model.backbone=segjax.backbones.resnet.ResNet18(output_stride=16)"`.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/deeplab_v3_plus_camvid.py --data /data/camvid
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.camvid import CamVid
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.models.deeplab_v3 import DeepLabV3Plus
from segjax.train.optimizer import AdamW, Cosine
from segjax.transforms.color import ColorJitter
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale

experiment = Experiment(
    name="deeplab_v3_plus_camvid",
    model=DeepLabV3Plus(
        ResNet50(output_stride=16), num_classes=11, rates=(6, 12, 18), separable=False
    ),
    normalize=IMAGENET,
    train_data=CamVid(split="train"),
    eval_data=CamVid(split="val"),
    transforms=(
        RandomScale(0.5, 2.0),
        RandomCrop((352, 480)),
        RandomFlip(),
        ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ),
    loss=losses.softmax_cross_entropy,
    optimizer=AdamW(Cosine(1e-3, warmup_steps=50), weight_decay=1e-2),
    batch_size=8,
    steps=10_000,
    evaluation=Evaluation(every=1000, batch_size=8),
)
