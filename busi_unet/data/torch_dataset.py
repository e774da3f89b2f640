"""Training images, decoded once and kept in memory, and the order in which an epoch draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.data.augment import Augmentation, normal_tissue
from busi_unet.data.prepared import decode_row, shrink
from busi_unet.inference.preprocess import Preprocessor

if TYPE_CHECKING:
    import datasets

_NORMAL = CLASS_NAMES.index("normal")
# Augmentation zooms in: images are kept this much larger than the network input.
_KEPT_SIZE = 1.5
# A source with fewer normal images than this share gets some from beside its lesions: so many of its draws.
_FEW_NORMALS, _NORMAL_TISSUE = 0.05, 0.35


class Batch(NamedTuple):
    """One collated batch."""

    image: Tensor  # float32 (N, 1, S, S), normalised
    mask: Tensor  # float32 (N, 1, S, S), 0 or 1; all 0 where there is none
    has_mask: Tensor  # bool (N,), whether the mask is known
    label: Tensor  # int64 (N,), position in `CLASS_NAMES`; `UNKNOWN` where it is not known
    index: Tensor  # int64 (N,), positions in the data set, to name images in messages


class LesionDataset(Dataset):
    """A split of the prepared data set as network input; without augmentation for validation.

    Augmentation draws from a generator seeded with (seed, epoch, key), so that an image looks the same in a
    given epoch whichever process or worker asks for it, and after a resume.
    """

    def __init__(
        self,
        split: datasets.Dataset,
        preprocessor: Preprocessor,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        self.preprocessor, self.augmentation, self.seed, self.epoch = preprocessor, augmentation, seed, 0
        self.image_ids = list(split["image_id"])
        self.sources = list(split["source"])
        self.labels = np.array(split["label"], dtype=np.int64)
        self.images: list[np.ndarray] = []
        self.masks: list[np.ndarray | None] = []
        for row in tqdm(split, desc="decode", unit="image", disable=not progress):
            image, mask = decode_row(row)
            if augmentation is None:
                image = preprocessor.resize_image(image)
                mask = None if mask is None else preprocessor.resize_mask(mask)
            else:
                image, mask = shrink(image, mask, round(_KEPT_SIZE * preprocessor.config.size))
            self.images.append(image)
            self.masks.append(mask)
        normal, sources = self.labels == _NORMAL, np.array(self.sources)
        self._few_normals = {
            source for source in set(self.sources) if normal[sources == source].mean() < _FEW_NORMALS
        }

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int) -> Batch:
        """Return image `key` modulo the length; what is above draws another augmentation of the same one."""
        index = key % len(self)
        image, mask, label = self.images[index], self.masks[index], int(self.labels[index])
        has_mask = mask is not None
        if mask is None:
            mask = np.zeros(image.shape, dtype=bool)
        if self.augmentation is not None:
            generator = np.random.default_rng((self.seed, self.epoch, key))
            if (
                self.sources[index] in self._few_normals
                and mask.any()
                and generator.random() < _NORMAL_TISSUE
                and (tissue := normal_tissue(image, mask, generator)) is not None
            ):
                (image, mask), label = tissue, _NORMAL
            image, mask = self.augmentation(image, mask, self.preprocessor, generator)
        return Batch(
            image=torch.from_numpy(self.preprocessor.normalise(image)[None]),
            mask=torch.from_numpy(mask[None].astype(np.float32)),
            has_mask=torch.tensor(has_mask),
            label=torch.tensor(label),
            index=torch.tensor(index),
        )


class EpochOrder(Sampler[int]):
    """The order of the images in the data set's current epoch, in whole batches.

    Each source is drawn in proportion to the square root of its size, so that a small hospital counts beside
    a large one; with a single source every image is drawn once. The order follows from the data set's seed
    and epoch alone, so that every process and every resumption deals the same batches. The images that would
    fill no whole batch, over all processes and accumulation steps, are left out: the next epoch leaves out
    others.
    """

    def __init__(self, dataset: LesionDataset, batch_size: int) -> None:
        self.dataset = dataset
        self.length = len(dataset) // batch_size * batch_size

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.dataset.seed, self.dataset.epoch))
        keys = np.concatenate(
            [
                _deal(np.flatnonzero(np.array(self.dataset.sources) == source), draws, generator)
                + np.arange(draws) // size * len(self.dataset)
                for source, size, draws in source_draws(self.dataset.sources)
            ]
        )
        return iter(generator.permutation(keys)[: self.length].tolist())


def source_draws(sources: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (source, its images, its draws) for an epoch of as many draws as there are images."""
    names, sizes = np.unique(np.array(sources), return_counts=True)
    ends = np.round(np.cumsum(np.sqrt(sizes)) / np.sqrt(sizes).sum() * len(sources)).astype(int)
    draws = np.diff(ends, prepend=0)
    return [(str(name), int(size), int(drawn)) for name, size, drawn in zip(names, sizes, draws, strict=True)]


def _deal(images: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return `draws` of the images: none comes again before all have come."""
    rounds = -(-draws // len(images))
    return np.concatenate([generator.permutation(images) for _ in range(rounds)])[:draws]
