import pytest

from busi_unet.errors import first_line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("Max retries exceeded.\nwith url"), "Max retries exceeded"),
        (OSError(), "OSError"),
        (ValueError("\n  late  \n"), "late"),
        (ValueError("x" * 1000), "x" * 300),
    ],
)
def test_first_line_fits_into_a_sentence(error, text):
    assert first_line(error) == text
