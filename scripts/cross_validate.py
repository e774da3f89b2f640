"""`busi-unet cross-validate` as a script."""

import sys

from busi_unet.cli import main

if __name__ == "__main__":
    sys.exit(main(["cross-validate", *sys.argv[1:]]))
