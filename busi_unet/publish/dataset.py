"""The repository of a prepared data set: Parquet files that `datasets.load_dataset` reads, and a card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import DatasetCard, DatasetCardData

from busi_unet.data.prepared import SPLITS, load_prepared, split_hash, summarise
from busi_unet.data.readers import citation_of
from busi_unet.hub import PushResult, checked_id
from busi_unet.io.html import render
from busi_unet.publish import push_built, repository_folder

if TYPE_CHECKING:
    from datasets import DatasetDict

_FILES = {split: f"data/{split}-00000-of-00001.parquet" for split in SPLITS}


def build_dataset_folder(data: str | os.PathLike, output: str | os.PathLike, *, repo_id: str) -> Path:
    """Lay out what `push_dataset` sends, in a new or empty folder; it appears whole or not at all.

    Args:
        data: a prepared data set, of one or several sources.
        output: returned; data/SPLIT-00000-of-00001.parquet for each split, and README.md.
        repo_id: USER/NAME that the card names.

    Raises:
        UsageError: not a Hub id, or `output` is not empty.
        DataLayoutError: `data` is not a prepared data set.
    """
    checked_id(repo_id)
    prepared = load_prepared(data)
    with repository_folder(output) as folder:
        (folder / "data").mkdir()
        for split, name in _FILES.items():
            prepared[split].to_parquet(folder / name)
        (folder / "README.md").write_text(_card(prepared, repo_id), encoding="utf-8")
    return Path(output)


def push_dataset(
    data: str | os.PathLike, repo_id: str, *, command: Sequence[str], public: bool = False
) -> PushResult:
    """Push what `build_dataset_folder` lays out of a data set, which is only read, in one commit.

    Args:
        data: folder of the prepared data set.
        repo_id: USER/NAME of the data set repository; created where missing.
        command: the program and its arguments that do this again after a failure.
        public: create it public; private otherwise, and then refuse a public one that exists.
    """
    return push_built(
        partial(build_dataset_folder, data, repo_id=repo_id),
        repo_id,
        command=command,
        intact=f"The data set is intact in {data}.",
        repo_type="dataset",
        private=not public,
        message="Prepared data set",
        delete_patterns=["data/*"],
    )


def _card(prepared: DatasetDict, repo_id: str) -> str:
    """Return YAML front matter and Markdown, with counts read from the data."""
    summary = summarise(prepared)
    sources = [citation_of(source) for source in summary["by_source"]]
    licences = {source.licence_id for source in sources}
    front_matter = DatasetCardData(
        # "unknown" is the Hub's word for one that is not stated.
        license=licences.pop() if len(licences) == 1 else "unknown",
        pretty_name="Breast ultrasound, prepared by busi_unet",
        task_categories=["image-segmentation", "image-classification"],
        tags=["busi_unet", "breast-ultrasound", "ultrasound", "medical"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": name} for split, name in _FILES.items()],
            }
        ],
    )
    body = render(
        "dataset_card.md",
        name=repo_id.rpartition("/")[2],
        repo_id=repo_id,
        sources=sources,
        classes=list(summary["classes"]),
        summary=summary,
        split_sha256=split_hash(prepared),
    )
    return str(DatasetCard(f"---\n{front_matter.to_yaml()}\n---\n\n{body}"))
