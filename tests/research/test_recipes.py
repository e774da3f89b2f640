import dataclasses
import json
import shutil

import numpy as np
import pytest

from busi_unet.data.busi import load_prepared
from busi_unet.errors import UsageError
from busi_unet.evaluation import evaluate as evaluation
from busi_unet.models.ood import fit_guard
from busi_unet.models.pretrained import load_bundle, load_config, save_bundle, save_config
from busi_unet.training.loop import train
from busi_unet.training.options import TrainOptions
from research import recipes
from research.recipes import compare_recipes


@pytest.fixture(scope="module", autouse=True)
def at_a_commit():
    """As in a clone without changes, in which judgements are kept."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (recipes, evaluation):
            patch.setattr(module, "commit", lambda: "0123456789ab")
        yield


@pytest.fixture(scope="module")
def trials(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    plain = TrainOptions(data=prepared, fold=0, encoder="plain", width=4, size=32, epochs=1, batch_size=4)
    for name, changes in {"base": {}, "smooth": {"label_smoothing": 0.2}, "wide": {"width": 8}}.items():
        for fold in (1, 3):
            run = folder / name / f"fold-{fold}"
            train(plain.replace(validation_fold=fold, output=run, **changes))
    return folder


@pytest.fixture(scope="module")
def found(trials, prepared):
    return compare_recipes(trials, load_prepared(prepared), baseline="base", resamples=50, progress=False)


def test_each_recipe_is_judged_on_the_folds_left_out(found, prepared):
    data = load_prepared(prepared)
    left_out = sum(fold in (1, 3) for split in data for fold in data[split]["fold"])
    assert found["folds"] == ["fold-1", "fold-3"]
    assert found["images"] == left_out
    for recipe in found["recipes"].values():
        assert recipe["estimates"]["accuracy"]["n"] == left_out
        assert recipe["minutes"] >= 0


def test_what_was_changed_is_told_by_its_options(found):
    changed = {name: recipe["changed"] for name, recipe in found["recipes"].items()}
    assert found["baseline_options"] == {
        "encoder": "plain",
        "width": 4,
        "size": 32,
        "epochs": 1,
        "batch_size": 4,
    }
    assert changed == {"base": {}, "smooth": {"label_smoothing": 0.2}, "wide": {"width": 8}}


def test_differences_are_to_the_baseline(found):
    base, wide = found["recipes"]["base"], found["recipes"]["wide"]
    assert base["differences"]["accuracy"]["value"] == 0
    expected = wide["estimates"]["lesion_dice"]["value"] - base["estimates"]["lesion_dice"]["value"]
    assert wide["differences"]["lesion_dice"]["value"] == pytest.approx(expected)


def test_costs_are_told(found):
    recipes_found = found["recipes"]
    assert recipes_found["base"]["time"] == 1
    assert recipes_found["smooth"]["parameters"] == recipes_found["base"]["parameters"]
    assert recipes_found["wide"]["parameters"] > 3 * recipes_found["base"]["parameters"]


def test_other_uses_of_the_networks_are_judged_beside_the_recipes(found, trials):
    uses = found["uses"]
    assert list(uses) == [
        "without_presence_rule",
        "with_mirror_image",
        "all_recipes_together",
        "with_averaged_weights",
    ]
    assert uses["without_presence_rule"]["time"] == 1
    assert uses["with_mirror_image"]["time"] == 2
    assert uses["with_averaged_weights"]["time"] == 1
    # base and smooth; wide has another network.
    assert uses["all_recipes_together"]["time"] == pytest.approx(
        1 + found["recipes"]["smooth"]["time"], abs=0.01
    )
    for use in uses.values():
        assert use["estimates"]["accuracy"]["n"] == found["images"]
    same = uses["without_presence_rule"]["estimates"]["accuracy"]
    assert same == found["recipes"]["base"]["estimates"]["accuracy"]
    hashes = {
        name: json.loads((trials / "base" / "fold-1" / name / "metrics.json").read_text(encoding="utf-8"))[
            "provenance"
        ]["bundle_sha256"]
        for name in ("validation", *uses)
    }
    assert len(set(hashes.values())) == len(hashes), "figures of another use are not the model's"
    (averaged,) = (trials / "base" / "fold-1").glob("averaged-*")
    members = [each["options"]["label_smoothing"] for each in load_config(averaged).training["average_of"]]
    assert members == [TrainOptions().label_smoothing, 0.2]


def test_without_the_presence_rule_there_are_masks_that_it_took(trials, prepared, tmp_path):
    folder = shutil.copytree(trials, tmp_path / "trials")
    for path in folder.glob("base/fold-*"):
        config = load_config(path / "model")
        thresholds = dataclasses.replace(config.thresholds, mask=0.01, min_area=0.0, presence=1.0)
        save_config(path / "model", dataclasses.replace(config, thresholds=thresholds))
    again = compare_recipes(folder, load_prepared(prepared), baseline="base", resamples=10, progress=False)
    for use, share in ((again["recipes"]["base"], 0), (again["uses"]["without_presence_rule"], 1)):
        assert use["estimates"]["normal_false_mask_share"]["value"] == share


def test_an_ensemble_refuses_what_its_first_member_refuses(found, trials, prepared, tmp_path):
    folder = shutil.copytree(trials, tmp_path / "trials")
    for fold in (1, 3):
        path = folder / "base" / f"fold-{fold}" / "model"
        model, config, _ = load_bundle(path)
        # The pictures here are too few to fit one to them.
        features = np.random.default_rng(0).normal(size=(120, sum(model.encoder.channels)))
        guard, _ = fit_guard(features.astype(np.float32), [str(number) for number in range(120)])
        strict = dataclasses.replace(config.calibration, refuse_beyond=1e-6)
        save_bundle(path, model, dataclasses.replace(config, calibration=strict), guard)
    compare_recipes(folder, load_prepared(prepared), baseline="base", resamples=10, progress=False)
    for name in ("validation", "with_mirror_image"):
        report = json.loads((folder / "base" / "fold-1" / name / "metrics.json").read_text(encoding="utf-8"))
        assert report["refused"] == sum(report["images"].values()) > 0, name


def test_all_folds_of_a_recipe_must_be_trained_alike(trials, prepared, tmp_path):
    folder = shutil.copytree(trials, tmp_path / "trials")
    file = folder / "wide" / "fold-3" / "options.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    first = folder / "wide" / "fold-1" / "options.json"
    for options, fold in ((file, 3), (first, 1)):
        told_here = json.loads(options.read_text(encoding="utf-8"))
        told_here["init"] = f"runs/start/fold-{fold}/model"
        options.write_text(json.dumps(told_here), encoding="utf-8")
    again = compare_recipes(folder, load_prepared(prepared), baseline="base", resamples=10, progress=False)
    assert again["recipes"]["wide"]["changed"]["init"] == "runs/start/fold-K/model"
    file.write_text(json.dumps(told), encoding="utf-8")
    first.write_text(json.dumps({**told, "init": "random"}), encoding="utf-8")
    with pytest.raises(UsageError, match="wide was trained with another init on fold-3 than on fold-1"):
        compare_recipes(folder, load_prepared(prepared), baseline="base", resamples=10, progress=False)
    first.write_text(json.dumps(told), encoding="utf-8")
    file.write_text(json.dumps({**told, "epochs": 9}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"wide was trained with another epochs on fold-3 than on fold-1"):
        compare_recipes(folder, load_prepared(prepared), baseline="base", resamples=10, progress=False)


def test_what_was_judged_is_not_judged_again(found, trials, prepared, monkeypatch):
    def no_evaluation(*_, **__):
        raise AssertionError("judged again")

    monkeypatch.setattr(recipes, "evaluate", no_evaluation)
    again = compare_recipes(trials, load_prepared(prepared), baseline="base", resamples=50, progress=False)
    assert again["recipes"]["wide"]["estimates"] == found["recipes"]["wide"]["estimates"]
    assert (
        again["uses"]["all_recipes_together"]["estimates"]
        == found["uses"]["all_recipes_together"]["estimates"]
    )


def test_judgements_of_other_masks_or_by_unknown_code_are_made_anew(found, trials, prepared, monkeypatch):
    judged = []

    def spy(*arguments, **keywords):
        judged.append(keywords["output"].name)
        return evaluation.evaluate(*arguments, **keywords)

    monkeypatch.setattr(recipes, "evaluate", spy)
    monkeypatch.setattr(recipes, "commit", lambda: "0123456789ab-dirty")
    compare_recipes(trials, load_prepared(prepared), baseline="base", resamples=10, progress=False)
    assert "with_mirror_image" in judged and "validation" not in judged
    monkeypatch.setattr(recipes, "data_hash", lambda split: "other masks")
    compare_recipes(trials, load_prepared(prepared), baseline="base", resamples=10, progress=False)
    assert "validation" in judged


def test_mistakes_are_named(found, trials, prepared, tmp_path):
    data = load_prepared(prepared)
    with pytest.raises(UsageError, match=r"no recipe other\. It has: base, smooth, wide"):
        compare_recipes(trials, data, baseline="other")
    with pytest.raises(UsageError, match="There is no folder"):
        compare_recipes(trials / "none", data, baseline="base")
    lacking = shutil.copytree(trials, tmp_path / "lacking")
    shutil.rmtree(lacking / "wide" / "fold-3")
    with pytest.raises(UsageError, match=r"wide was tried on fold-1, base on fold-1, fold-3"):
        compare_recipes(lacking, data, baseline="base")
    data["test"] = data["test"].select(range(1))
    with pytest.raises(UsageError, match="another split or on other data"):
        compare_recipes(trials, data, baseline="base")


def test_trials_that_saw_what_they_are_judged_on_are_refused(found, trials, prepared, tmp_path):
    data = load_prepared(prepared)
    renamed = shutil.copytree(trials, tmp_path / "renamed")
    for recipe in ("base", "smooth", "wide"):
        (renamed / recipe / "fold-3").rename(renamed / recipe / "fold-2")
    with pytest.raises(UsageError, match=r"base.fold-2 was not trained with --fold 0 --validation-fold 2"):
        compare_recipes(renamed, data, baseline="base", progress=False)

    model = shutil.copytree(trials, tmp_path / "refit") / "base" / "fold-1" / "model"
    config = load_config(model)
    made_on = {**config.training["data"], "trained_on": ["train", "validation"]}
    save_config(model, dataclasses.replace(config, training={**config.training, "data": made_on}))
    with pytest.raises(UsageError, match="trained on its validation images too"):
        compare_recipes(tmp_path / "refit", data, baseline="base", progress=False)


def test_a_damaged_report_is_written_again(found, trials, prepared, tmp_path):
    folder = shutil.copytree(trials, tmp_path / "trials")
    (folder / "base" / "fold-1" / "validation" / "metrics.json").write_text("{", encoding="utf-8")
    again = compare_recipes(folder, load_prepared(prepared), baseline="base", resamples=50, progress=False)
    assert again["recipes"]["base"]["estimates"] == found["recipes"]["base"]["estimates"]
