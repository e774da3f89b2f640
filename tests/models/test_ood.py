import numpy as np
import pytest

from busi_unet.models.ood import fit_ood

FEATURES, LATENT = 60, 5


@pytest.fixture(scope="module")
def mixing() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(LATENT, FEATURES))


def drawn(count: int, seed: int, mixing: np.ndarray) -> np.ndarray:
    """Features that vary in few directions, each on a scale of its own."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, LATENT)) @ mixing + 0.3 * generator.normal(size=(count, FEATURES))
    return (values * np.linspace(0.01, 10, FEATURES) + 5).astype(np.float32)


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_images_of_the_same_kind_pass_and_others_do_not(mixing):
    ood, limit = fit_ood(drawn(300, 0, mixing), names(300))
    new = ood.distance(drawn(500, 1, mixing))

    assert np.median(new) == pytest.approx(1, abs=0.2)
    assert (new > limit).mean() < 0.01
    # The same average and spread of each feature, but not how they go together.
    unlike = drawn(100, 2, np.random.default_rng(8).normal(size=(LATENT, FEATURES)))
    assert (ood.distance(unlike) > limit).all()
    assert ood.distance(unlike[0]).shape == ()


def test_another_kind_that_looks_usual_is_refused_once_it_was_shown(mixing):
    usual, towards = drawn(300, 0, mixing), 6 * mixing[0] * np.linspace(0.01, 10, FEATURES)
    alike = drawn(40, 1, mixing) + towards.astype(np.float32)
    ood, limit = fit_ood(usual, names(300))
    assert (ood.distance(alike) > limit).mean() < 0.5

    ood, limit = fit_ood(usual, names(300), {"shown": alike[:20], "far": alike[:5] + 100})
    assert (ood.distance(alike[20:]) > limit).all()
    assert (ood.distance(drawn(500, 2, mixing)) > limit).mean() < 0.02


def test_copies_are_held_out_together(mixing):
    features = drawn(120, 0, mixing)
    _, limit = fit_ood(features, names(120))
    copied = np.repeat(features, 3, axis=0)
    _, of_copies = fit_ood(copied, np.repeat(names(120), 3))
    _, as_strangers = fit_ood(copied, names(360))

    assert of_copies == pytest.approx(limit, rel=0.15)
    assert as_strangers < of_copies
