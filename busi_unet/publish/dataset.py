"""The repository of a prepared data set: Parquet files that `datasets.load_dataset` reads, and a card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from busi_unet.config import CLASS_NAMES
from busi_unet.data.prepared import SPLITS, load_prepared, split_hash
from busi_unet.data.summary import summarise
from busi_unet.hub import PushResult, checked_id, push_folder
from busi_unet.publish.folder import repository_folder
from busi_unet.publish.resume import resumable
from busi_unet.publish.wording import BUSI_CITATION, BUSI_LICENCE, busi_test_fold

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def build_dataset_folder(data: str | os.PathLike, output: str | os.PathLike, *, repo_id: str) -> Path:
    """Lays out what `push_dataset` sends.

    Args:
        data: folder that `busi_unet.data.busi.prepare` wrote.
        output: folder to write; it appears whole or not at all.
        repo_id: USER/NAME that the card names.

    Returns:
        The output: data/SPLIT-00000-of-00001.parquet for each split, and README.md.

    Raises:
        UsageError: no Hub id, or an output that holds what no earlier call wrote.
        DataLayoutError: `data` is no prepared data set.
        BusiUNetError: the disk refuses.
    """
    checked_id(repo_id)
    prepared = load_prepared(data)
    with repository_folder(output) as folder:
        (folder / "data").mkdir()
        for split in SPLITS:
            prepared[split].to_parquet(folder / _parquet_name(split))
        (folder / "README.md").write_text(dataset_card(prepared, repo_id=repo_id), encoding="utf-8")
    return Path(output)


def push_dataset(
    data: str | os.PathLike, repo_id: str, *, command: Sequence[str], public: bool = False
) -> PushResult:
    """Publishes a prepared data set in one commit.

    Args:
        data: as for `build_dataset_folder`; it is only read.
        repo_id: USER/NAME of the data set repository; created where missing.
        command: the program and its arguments that do this again after a failure.
        public: create it for everyone to read; private otherwise, and never in a public one that exists.

    Raises:
        UsageError: as for `push_folder`.
        DataLayoutError: as for `build_dataset_folder`.
        HubAccessError: the push failed; says where the data are and how to resume.
    """
    with (
        resumable(command, intact=f"The data set is intact in {data}."),
        tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch,
    ):
        return push_folder(
            build_dataset_folder(data, Path(scratch) / "repository", repo_id=repo_id),
            repo_id,
            repo_type="dataset",
            private=not public,
            message="Prepared data set",
            delete_patterns=["data/*"],
        )


def dataset_card(prepared: Any, *, repo_id: str) -> str:
    """The data card: YAML front matter and Markdown, counts read from the data.

    Args:
        prepared: the `datasets.DatasetDict` of `load_prepared`.
        repo_id: USER/NAME of the repository.
    """
    summary = summarise(prepared)
    digest = split_hash(prepared)
    fold = busi_test_fold(digest)
    front_matter = DatasetCardData(
        # The Hub's word for "not stated".
        license="unknown",
        pretty_name="Breast ultrasound, prepared by busi_unet",
        task_categories=["image-segmentation", "image-classification"],
        size_categories=next((name for limit, name in _SIZES if summary["images"] < limit), "n>1M"),
        tags=["busi_unet", "breast-ultrasound", "ultrasound", "medical"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": _parquet_name(split).as_posix()} for split in SPLITS],
            }
        ],
    )
    table = [
        f"| {split} | {counts['images']} | {counts['groups']} | "
        + " | ".join(str(counts[name]) for name in CLASS_NAMES)
        + " |"
        for split, counts in summary["splits"].items()
    ]
    if fold is None:
        source = "This is not the whole of BUSI with the folds published in busi_unet."
        licence = (
            f"If the pictures are from BUSI: {BUSI_LICENCE} In that case cite the papers below.\n"
            "Otherwise the licence and the citation are for whoever published this data set to add."
        )
    else:
        source = (
            "BUSI (Breast Ultrasound Images, Cairo 2018) with the folds published in busi_unet; "
            f"fold {fold} is the test split."
        )
        licence = f"{BUSI_LICENCE} Before you make a copy public, ask its owners. Cite it with every figure."
    body = f"""\
# {repo_id.rpartition("/")[2]}

Breast ultrasound pictures with lesion masks and classes, split by busi_unet so that copies of one picture
never lie on both sides. {source}

| split | images | groups | {" | ".join(CLASS_NAMES)} |
|---|---|---|{"---|" * len(CLASS_NAMES)}
{chr(10).join(table)}

{summary["images_in_copy_groups"]} of the {summary["images"]} images have copies among the others.
Split, SHA-256 over image ids and classes: `{digest}`.

## Use

```sh
python scripts/prepare_data.py {repo_id} --output data/busi  # checks it and makes it ready for train.py
```

```python
from datasets import load_dataset

data = load_dataset("{repo_id}")
```

| column | what it is |
|---|---|
| image | the frame, PNG, 8-bit grey, native size |
| mask | PNG, 8-bit grey, 0 or 255, size of its image: the union of all lesions; null where not outlined |
| label | {", ".join(f"{index} {name}" for index, name in enumerate(CLASS_NAMES))}; -1 where not known |
| image_id | unique, as in the source |
| source | the data set the image is from: {", ".join(summary["by_source"])} |
| group | images of one group are of one patient, or copies or views of one another |
| fold | 0 to 4; no group is in two folds |

## Licence and citation

**The licence is not clear.** {licence}

```text
{BUSI_CITATION}
```
"""
    return str(DatasetCard(f"---\n{front_matter.to_yaml()}\n---\n\n{body}"))


def _parquet_name(split: str) -> Path:
    return Path("data") / f"{split}-00000-of-00001.parquet"
