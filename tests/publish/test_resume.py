import pytest

from busi_unet.errors import BusiUNetError, HubAccessError, UsageError
from busi_unet.publish.resume import resumable


@pytest.mark.parametrize("kind", [HubAccessError, BusiUNetError])
def test_a_failure_says_what_is_intact_and_which_command_resumes(kind):
    with (
        pytest.raises(kind) as caught,
        resumable(["busi-unet", "push", "runs/my run", "--private"], intact="The weights are intact."),
    ):
        raise kind("It broke.", "Mend it.")
    assert str(caught.value) == (
        "It broke. The weights are intact. Mend it. Then resume with: busi-unet push 'runs/my run' --private"
    )


def test_wrong_usage_is_not_to_be_repeated():
    with (
        pytest.raises(UsageError) as caught,
        resumable(["busi-unet", "push"], intact="The weights are intact."),
    ):
        raise UsageError("No such name.", "Use another.")
    assert str(caught.value) == "No such name. Use another."
