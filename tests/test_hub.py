import pytest

from busi_unet.errors import HubAccessError
from busi_unet.hub import fetch_bundle
from busi_unet.predictor import Predictor


def test_a_model_that_is_not_cached_cannot_be_had_offline():
    with pytest.raises(HubAccessError, match="nobody/nothing is no folder here") as caught:
        fetch_bundle("nobody/nothing")
    assert "local model folder" in caught.value.hint


def test_the_predictor_passes_the_message_on():
    with pytest.raises(HubAccessError, match="nobody/nothing"):
        Predictor.from_pretrained("nobody/nothing", revision="v1")


def test_what_is_no_hub_id_is_said():
    with pytest.raises(HubAccessError, match="is not a Hub id"):
        fetch_bundle("bad name/with spaces")
