"""Make a folder of identities of Fashion-MNIST: one folder a kind of garment, as train_triplet.py wants it.

    apt-get install dataset-fashion-mnist
    python examples/fashion_identities.py garments

Debian's package has the files in /usr/share/datasets/fashion-mnist; they are the published ones.
"""

from __future__ import annotations

import argparse
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
SIDE = 28


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to write them")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--each", type=int, default=200, help="pictures of each kind (default %(default)s)")
    options = parser.parse_args()
    # The headers of idx files are 16 bytes long for pictures and 8 for labels.
    pixels = gzip.decompress((options.source / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((options.source / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    pictures = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)
    written: Counter[str] = Counter()
    for picture, label in zip(pictures, labels, strict=True):
        kind = KINDS[label]
        if written[kind] < options.each:
            folder = options.folder / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{written[kind]:04}.png")
            written[kind] += 1
    print(f"{written.total()} pictures of {len(written)} kinds in {options.folder}")


if __name__ == "__main__":
    main()
