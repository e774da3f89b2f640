"""`python -m busi_unet` is the command `busi-unet`."""

import sys

from busi_unet.cli import main

if __name__ == "__main__":
    sys.exit(main())
