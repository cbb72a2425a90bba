"""One small variant of each model: the table that tests and benchmarks share."""

import pathlib
import runpy

import jax
import jax.numpy as jnp

from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.backbones.vgg import CEIL, DEEPLAB, VGG
from segjax.layers.up import bilinear
from segjax.models.deeplab import DeepLabV1, DeepLabV2
from segjax.models.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from segjax.models.deeplab_v3_cascade import DeepLabV3Cascade
from segjax.models.dilation import BASIC, Dilation
from segjax.models.duc import DUC
from segjax.models.fc_densenet import FCDenseNet
from segjax.models.fcn import FCN, FCN8s
from segjax.models.lraspp import LRASPP
from segjax.models.pspnet import PSPNet
from segjax.models.refinenet import RefineNet
from segjax.models.segnet import SegNet, SegNetBasic
from segjax.models.u2net import U2Net
from segjax.models.unet import EncoderUNet, UNet
from segjax.ops.dispatch import plain

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8, output_stride=16)
VGG4 = VGG(stages=(1, 1, 1, 1, 1), width=4, output_stride=8, pool=DEEPLAB)
MODELS = {
    "deeplab": DeepLabV3(RESNET, num_classes=3, rates=(1, 2), features=16, auxiliary=True),
    "deeplab_plus": DeepLabV3Plus(RESNET, 3, rates=(1,), features=8, separable=False),
    "deeplab_cascade": DeepLabV3Cascade(RESNET, num_classes=3, copies=2),
    "lraspp": LRASPP(RESNET, num_classes=3, features=16),
    "pspnet": PSPNet(RESNET.clone(uniform_dilation=True), num_classes=3, auxiliary=True),
    "duc": DUC(RESNET.clone(rates=((4, (2,)),)), num_classes=3, cell=4, rates=(1, 2)),
    "refinenet": RefineNet(RESNET.clone(output_stride=32), num_classes=3, features=8, pools=1),
    "fc_densenet": FCDenseNet(num_classes=3, layers=(1, 2, 1), growth=4, features=6),
    "segnet": SegNet(num_classes=3, stages=((4, 4), (8,))),
    "fcn8s": FCN8s(VGG4.clone(output_stride=32, pool=CEIL), num_classes=3, features=16),
    "deeplab_v1_msc": DeepLabV1(VGG4, num_classes=3, rate=2, features=16, multi_scale=True),
    "deeplab_v2": DeepLabV2(VGG4, 3, rates=(1, 2), hidden=8, scales=(0.5, 1.0)),
    "fcn_resnet": FCN(RESNET, num_classes=3, auxiliary=True),
    "segnet_basic": SegNetBasic(num_classes=3, depth=2, features=4),
    "u2net": U2Net(num_classes=3, encoder=((3, 2, 4), (3, 2, 4)), decoder=((3, 2, 4),)),
    "encoder_unet": EncoderUNet(RESNET, num_classes=3, features=(8, 8, 4, 4, 4)),
    "dilation": Dilation(num_classes=3, context=BASIC, width=4, features=16),
    "unet": UNet(num_classes=3, depth=2, features=4, dropout=0.5),
    "unet_bilinear_batch_norm": UNet(
        num_classes=3, depth=2, features=4, up=bilinear, batch_norm=True
    ),
}


def shapes(model, size=(33, 47)):
    """Returns shape and dtype of logits and variables; nothing is computed."""
    with plain():  # Traces faster.
        return jax.eval_shape(
            lambda x: model.init_with_output(jax.random.key(0), x, train=False),
            jax.ShapeDtypeStruct((1, *size, 3), jnp.float32),
        )


def variables_of(model):
    """Returns variables of no fresh network, without compiling `init`."""
    return LIVELY(shapes(model)[1])
