"""Panoptic FPN (Kirillov et al., 2019, arXiv:1901.02446) with ResNet-50 on COCO panoptic.

detectron2 publishes 39.4 PQ, 37.6 box AP and 34.7 mask AP on val2017 for this recipe; the paper
has 39.0 PQ. Measured here: not yet; the run needs an accelerator, COCO's panoptic annotations
and ImageNet weights.

The recipe is detectron2's 1x: SGD with momentum 0.9, batch 16, 90,000 steps, rate 0.02, a tenth
of it from step 60,000 and a hundredth from 80,000, weight decay 1e-4. The shorter side of an
image is drawn from 640 to 800. A batch has images that are all wide, or all high. Stem, first
stage and batch norms of the backbone are frozen.

Differences: detectron2 starts from Caffe's weights, whose blocks stride in their first 1×1
convolution; here they are torchvision's. RoIAlign takes 2 × 2 samples of a bin, where
detectron2 takes as many as the bin has pixels; `model.samples=0` with a `model.most_samples`
does the same.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/panoptic_fpn_coco.py --data /data/coco
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.by_aspect import ByAspect
from segjax.data.coco import COCO
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.norm import FrozenBatchNorm
from segjax.models.panoptic_fpn import PanopticFPN
from segjax.tasks.panoptic_fpn import TopDown
from segjax.train.optimizer import SGD, Staircase
from segjax.transforms.geometric import RandomFlip
from segjax.transforms.objects import Canvas, PackObjects
from segjax.transforms.resize_sides import ResizeSides
from segjax.weights import Pretrained

experiment = Experiment(
    name="panoptic_fpn_coco",
    model=PanopticFPN(
        ResNet50(norm=FrozenBatchNorm),
        num_classes=133,
        rounded=False,
        aligned=True,
        inside_log=True,
    ),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet50.tv_in1k"),
    train_data=ByAspect(COCO(split="train", classes="panoptic", objects=True)),
    eval_data=COCO(split="val", classes="panoptic", objects=True),
    transforms=(
        ResizeSides((640, 672, 704, 736, 768, 800), 1333),
        RandomFlip(),
        Canvas((800, 1344)),
        PackObjects(100, excess="largest"),
    ),
    loss=losses.PanopticFPN(two_stage=losses.TwoStage(rpn_beta=0.0, beta=0.0)),
    optimizer=SGD(
        Staircase(0.02, boundaries=(59_000, 79_000), warmup_steps=1000),
        momentum=0.9,
        weight_decay=1e-4,
        multipliers=(("backbone/conv1/.*", 0.0), ("backbone/layer1.*", 0.0)),
    ),
    batch_size=16,
    steps=90_000,
    task=TopDown(
        canvas=(800, 1344),
        antialias=True,
        train_after=1000,
        proposal_side=0.0,
        side=0.0,
    ),
    evaluation=Evaluation(every=10_000, batch_size=1),
)
