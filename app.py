"""The web app: `python app.py`, and what a Hugging Face Space runs.

`BUSI_UNET_MODEL` names other weights than the embedded ones: a Hub id USER/NAME or a model folder.
Gradio reads its own variables, such as `GRADIO_SERVER_NAME` and `GRADIO_SERVER_PORT`.
"""

import os

from busi_unet.app.page import LAUNCH_OPTIONS, build_page

demo = build_page(os.environ.get("BUSI_UNET_MODEL"))

if __name__ == "__main__":
    demo.launch(**LAUNCH_OPTIONS)
