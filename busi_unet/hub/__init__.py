"""The Hugging Face Hub: fetching models and data sets, publishing folders. The only code that talks to it."""

from busi_unet.hub.fetch import fetch_bundle, fetch_dataset
from busi_unet.hub.ids import checked_id, is_hub_id, page_of
from busi_unet.hub.push import PushResult, check_push, is_private, push_folder

__all__ = [
    "PushResult",
    "check_push",
    "checked_id",
    "fetch_bundle",
    "fetch_dataset",
    "is_hub_id",
    "is_private",
    "page_of",
    "push_folder",
]
