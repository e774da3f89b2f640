"""`busi-unet train` as a script, for `accelerate launch scripts/train.py`."""

import sys

from busi_unet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
