"""Mask R-CNN (He et al., 2017, arXiv:1703.06870) with ResNet-50 FPN on COCO.

torchvision publishes 37.9 box AP and 34.6 mask AP on val2017 for `maskrcnn_resnet50_fpn`; the
paper has 35.7 mask AP on test-dev with ResNet-101. Measured here: not yet; the run needs an
accelerator, COCO's instance annotations and ImageNet weights.

The recipe is that of torchvision's references/detection: SGD with momentum 0.9, batch 16, rate
0.02 after 1000 steps of linear warm-up, a tenth of it from epoch 16 and a hundredth from epoch
22, weight decay 1e-4 of all trained parameters, and horizontal flips. Batch norms, stem and
first stage of the backbone stay as they are. 117,266 images of train2017 have a usable
annotation. Eight samplers give batches of two, which is ⌊⌈117,266 / 8⌉ / 2⌋ = 7329 steps an
epoch: 26 epochs have 190,554 steps, epoch 16 begins at step 117,264 and epoch 22 at 161,238.

Differences: torchvision has eight groups of aspect, and pads each batch to its own largest
image; here are two, and two canvases, in evaluation too. Its network has 91 classes, of which
ten have no object: `classes="instances91"` in both datasets and `model.num_classes=91` give the
same. It samples anchors and proposals at random; here seed and step decide.

Cost: made for an accelerator; not measured.

    python -m segjax.launch experiments/mask_rcnn_coco.py --data /data/coco
"""

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.data.by_aspect import ByAspect
from segjax.data.coco import COCO
from segjax.experiment import IMAGENET, Evaluation, Experiment
from segjax.layers.norm import FrozenBatchNorm
from segjax.models.mask_rcnn import MaskRCNN
from segjax.tasks.instance import Instance
from segjax.train.optimizer import SGD, Staircase
from segjax.transforms.geometric import RandomFlip
from segjax.transforms.objects import Canvas, PackObjects
from segjax.transforms.resize_sides import ResizeSides
from segjax.weights import Pretrained

EPOCH, WARMUP = 7329, 1000

experiment = Experiment(
    name="mask_rcnn_coco",
    model=MaskRCNN(ResNet50(norm=FrozenBatchNorm), num_classes=81),
    normalize=IMAGENET,
    init=Pretrained("timm/resnet50.tv_in1k"),
    train_data=ByAspect(COCO(split="train", classes="instances")),
    eval_data=COCO(split="val", classes="instances"),
    transforms=(
        RandomFlip(),
        ResizeSides(800, 1333),
        Canvas((800, 1344)),
        PackObjects(100, excess="largest"),
    ),
    loss=losses.TwoStage(),
    optimizer=SGD(
        Staircase(
            0.02,
            boundaries=(16 * EPOCH - WARMUP, 22 * EPOCH - WARMUP),
            warmup_steps=WARMUP,
        ),
        momentum=0.9,
        weight_decay=1e-4,
        multipliers=(("backbone/conv1/.*", 0.0), ("backbone/layer1.*", 0.0)),
    ),
    batch_size=16,
    steps=26 * EPOCH,
    task=Instance(canvas=(800, 1344)),
    evaluation=Evaluation(every=2 * EPOCH, batch_size=1),
)
