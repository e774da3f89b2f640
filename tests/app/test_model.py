import logging
from pathlib import Path

import pytest

import busi_unet.inference.predictor
from busi_unet.app.model import LazyModel, ModelInUse, load_predictor
from busi_unet.errors import IncompatibleModelError
from busi_unet.version import __version__


def _named(model: ModelInUse) -> dict[str, str | None]:
    """What `to_dict` says beside the weights' hash and the version, which are the same for all here."""
    named = model.to_dict()
    assert len(named.pop("sha256")) == 64
    assert named.pop("busi_unet") == __version__
    return named


@pytest.fixture
def embedded(tiny_model, monkeypatch) -> Path:
    """Stands for the embedded weights, so that these tests are about the choice alone."""
    monkeypatch.setattr(busi_unet.inference.predictor, "EMBEDDED", tiny_model)
    return tiny_model


@pytest.mark.parametrize("requested", [None, "", "  ", "embedded"])
def test_embedded_weights_without_a_request(embedded, requested):
    model = load_predictor(requested)

    assert _named(model) == {"kind": "embedded", "source": "embedded", "notice": None}
    assert model.describe() == "Weights: embedded in the app"


def test_hub_model(tiny_model, monkeypatch):
    monkeypatch.setattr("busi_unet.hub.fetch_model", lambda repo_id, revision: tiny_model)
    model = load_predictor("someone/busi")
    assert _named(model) == {"kind": "hub", "source": "someone/busi", "notice": None}


def test_falls_back_where_the_hub_is_out_of_reach(embedded, caplog):
    with caplog.at_level(logging.WARNING):
        model = load_predictor("someone/busi")

    assert model.kind == "embedded"
    assert model.notice.startswith("The model someone/busi is not in use; the embedded weights are.")
    assert "Hub" in model.notice
    assert model.notice in caplog.text


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_falls_back_from_a_broken_folder(embedded, tmp_path, content):
    folder = tmp_path / "broken"
    folder.mkdir()
    if content is not None:
        (folder / "config.json").write_text(content, encoding="utf-8")

    model = load_predictor(str(folder))

    assert model.kind == "embedded"
    assert "config.json" in model.notice


def test_falls_back_from_a_name_that_is_neither_folder_nor_id(embedded):
    assert "not a model folder" in load_predictor("./nowhere").notice


def test_broken_embedded_weights_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(busi_unet.inference.predictor, "EMBEDDED", tmp_path)

    with pytest.raises(IncompatibleModelError):
        load_predictor(None)


def test_lazy_weights_are_loaded_once_and_on_first_use(tiny_model, monkeypatch):
    calls = []

    def load(requested: str | None) -> ModelInUse:
        calls.append(requested)
        return load_predictor(requested)

    monkeypatch.setattr("busi_unet.app.model.load_predictor", load)
    model = LazyModel(str(tiny_model))
    assert calls == []

    assert model() is model()
    assert calls == [str(tiny_model)]
