"""The Hugging Face Hub: fetching models, publishing folders. The only code that talks to it."""

from busi_unet.hub.fetch import fetch_bundle
from busi_unet.hub.push import PushResult, check_push, push_folder, set_space_variables

__all__ = ["PushResult", "check_push", "fetch_bundle", "push_folder", "set_space_variables"]
