"""The Hugging Face Hub: pull models and data sets, push folders. The only code that talks to it.

It loads the client of the Hub: import it where it is needed.
"""

from busi_unet.hub.errors import checked_id, is_hub_id, page_of
from busi_unet.hub.transfer import (
    PushResult,
    check_push,
    fetch_dataset,
    fetch_model,
    is_private,
    push_folder,
)

__all__ = [
    "PushResult",
    "check_push",
    "checked_id",
    "fetch_dataset",
    "fetch_model",
    "is_hub_id",
    "is_private",
    "page_of",
    "push_folder",
]
