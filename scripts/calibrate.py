"""`busi-unet calibrate` as a script."""

import sys

from busi_unet.cli import main

if __name__ == "__main__":
    sys.exit(main(["calibrate", *sys.argv[1:]]))
