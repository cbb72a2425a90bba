"""State dicts by timm's names, written down from its MobileNetV3 and Xception."""

from segjax.backbones.mobilenet_v3 import LARGE, SMALL, squeezed_channels

Shapes = dict[str, tuple[int, ...]]


def mobilenet_v3(network: str) -> Shapes:
    """Returns {tensor: shape} of "large" or "small"."""
    rows, counts, width = {
        "large": (LARGE, (1, 2, 3, 4, 2, 3), 1280),
        "small": (SMALL, (1, 2, 3, 2, 3), 1024),
    }[network]
    places = [f"blocks.{s}.{b}" for s, count in enumerate(counts) for b in range(count)]
    shapes = {**_conv("conv_stem", 16, 3, 3), **_norm("bn1", 16)}
    channels = 16
    for place, row in zip(places, rows, strict=True):
        k, wide, out = row.kernel_size, row.expanded, row.features
        depthwise, project, squeezed = ("conv_dw", "bn1"), ("conv_pw", "bn2"), None
        if wide != channels:
            shapes |= _conv(f"{place}.conv_pw", wide, channels) | _norm(f"{place}.bn1", wide)
            depthwise, project = ("conv_dw", "bn2"), ("conv_pwl", "bn3")
        shapes |= _conv(f"{place}.{depthwise[0]}", wide, 1, k)
        shapes |= _norm(f"{place}.{depthwise[1]}", wide)
        if row.squeeze_excite:
            squeezed = squeezed_channels(wide)
            shapes |= _conv(f"{place}.se.conv_reduce", squeezed, wide, bias=True)
            shapes |= _conv(f"{place}.se.conv_expand", wide, squeezed, bias=True)
        shapes |= _conv(f"{place}.{project[0]}", out, wide) | _norm(
            f"{place}.{project[1]}", out
        )
        channels = out
    last = f"blocks.{len(counts)}.0"
    shapes |= _conv(f"{last}.conv", 6 * channels, channels) | _norm(f"{last}.bn1", 6 * channels)
    shapes |= _conv("conv_head", width, 6 * channels, bias=True)
    return shapes | {"classifier.weight": (1000, width), "classifier.bias": (1000,)}


def xception(entry: tuple[int, ...], middle: int) -> Shapes:
    """Returns {tensor: shape}, with the widths of the entry blocks."""
    shapes = {**_conv("stem.0.conv", 32, 3, 3), **_norm("stem.0.bn", 32)}
    shapes |= _conv("stem.1.conv", 64, 32, 3) | _norm("stem.1.bn", 64)
    blocks = [(width,) * 3 for width in (*entry, *[728] * middle)]
    blocks += [(728, 1024, 1024), (1536, 1536, 2048)]
    channels, with_shortcut = 64, {*range(len(entry)), len(blocks) - 2}
    for i, widths in enumerate(blocks):
        if i in with_shortcut:
            shapes |= _conv(f"blocks.{i}.shortcut.conv", widths[-1], channels)
            shapes |= _norm(f"blocks.{i}.shortcut.bn", widths[-1])
        for j, width in enumerate(widths, start=1):
            conv = f"blocks.{i}.stack.conv{j}"
            shapes |= _conv(f"{conv}.conv_dw", channels, 1, 3) | _norm(
                f"{conv}.bn_dw", channels
            )
            shapes |= _conv(f"{conv}.conv_pw", width, channels) | _norm(f"{conv}.bn_pw", width)
            channels = width
    return shapes | {"head.fc.weight": (1000, 2048), "head.fc.bias": (1000,)}


def _conv(name: str, outputs: int, inputs: int, size: int = 1, *, bias: bool = False) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (outputs, inputs, size, size)}
    return shapes | ({f"{name}.bias": (outputs,)} if bias else {})


def _norm(name: str, channels: int) -> Shapes:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": (channels,) for leaf in leaves} | {
        f"{name}.num_batches_tracked": ()
    }
