"""`busi-unet robustness` as a script."""

import sys

from busi_unet.cli import main

if __name__ == "__main__":
    sys.exit(main(["robustness", *sys.argv[1:]]))
