"""Makes small copies of CamVid, ISBI 2012 and DSB 2018 for a machine without a network.

    python benchmarks/pack_data.py DIR OUT [--quality 80]

CamVid's images are encoded anew as JPEG of that quality, 4:2:0; masks stay as they are. DSB's
images become RGB, its instance ids 0 (background) and 1 (nucleus); by the hash of the name, a
fifth is `val`. ISBI is copied.
"""

import argparse
import hashlib
import pathlib
import shutil

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path, metavar="DIR")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--quality", type=int, default=80)
    arguments = parser.parse_args()
    camvid(arguments.source / "camvid", arguments.out / "camvid", arguments.quality)
    nuclei(arguments.source / "dsb2018", arguments.out / "dsb2018")
    for name in ("image", "label"):
        shutil.copytree(arguments.source / "isbi2012" / name, arguments.out / "isbi2012" / name)


def camvid(source: pathlib.Path, out: pathlib.Path, quality: int) -> None:
    for split in ("train", "val", "test"):
        for folder in (split, f"{split}annot"):
            (out / folder).mkdir(parents=True)
        shutil.copy(source / f"{split}.txt", out)
        for path in sorted((source / split).iterdir()):
            target = out / split / f"{path.stem}.jpg"
            with Image.open(path) as image:
                image.convert("RGB").save(target, quality=quality, optimize=True)
        for path in sorted((source / f"{split}annot").iterdir()):
            shutil.copy(path, out / f"{split}annot")


def nuclei(source: pathlib.Path, out: pathlib.Path) -> None:
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True)
    names: dict[str, list[str]] = {"train": [], "val": []}
    for path in sorted((source / "images").iterdir()):
        with Image.open(path) as image:
            image.convert("RGB").save(out / "images" / f"{path.stem}.png", optimize=True)
        with Image.open(source / "instances" / path.name) as label:
            nucleus = (np.asarray(label) > 0).astype(np.uint8)
        Image.fromarray(nucleus).save(out / "masks" / f"{path.stem}.png", optimize=True)
        digest = hashlib.sha256(path.stem.encode()).digest()
        names["val" if digest[0] % 5 == 0 else "train"].append(path.stem)
    for split, stems in names.items():
        (out / f"{split}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
