# SPDX-License-Identifier: Apache-2.0
"""Writes the photographs inside Qt's resource files (.rcc) into a folder.

Debian's package gcompris-qt-data keeps its photographs so; `samg train mini --backgrounds` wants
picture files. Pictures with a side below 200 pixels and drawings with an alpha channel are left.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import cv2
import numpy as np

from samg_ros.errors import PictureError
from samg_ros.files.pictures import decode_picture, write_picture

STARTS = re.compile(rb'RIFF....WEBP|\xff\xd8\xff', re.DOTALL)
"""How a WebP or JPEG file begins."""
LARGEST = 3_000_000
SMALLEST_SIDE = 200


def main() -> None:
    """Write a PNG for each photograph, named by its file and place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', type=Path, nargs='+', help='.rcc files')
    parser.add_argument('--out', type=Path, required=True, help='folder')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in args.files:
        data = path.read_bytes()
        for start in (match.start() for match in STARTS.finditer(data)):
            webp = data[start:start + 4] == b'RIFF'
            size = int.from_bytes(data[start + 4:start + 8], 'little') + 8 if webp else LARGEST
            try:
                picture = decode_picture(data[start:start + size], cv2.IMREAD_UNCHANGED)
            except PictureError:
                continue
            if picture.ndim == 3 and picture.shape[2] == 3 \
                    and min(picture.shape[:2]) >= SMALLEST_SIDE:
                write_picture(args.out / f'{path.stem}_{start}.png', np.asarray(picture, np.uint8))
    print(f'{len(list(args.out.glob("*.png")))} pictures in {args.out}')


if __name__ == '__main__':
    main()
