"""`busi-unet prepare` as a script."""

import sys

from busi_unet.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
