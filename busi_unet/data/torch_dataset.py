"""Training images, decoded and resized once and kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.data.augment import Augmentation, happens
from busi_unet.data.overlays import paint_out
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.io.decode import decode_image, decode_mask

if TYPE_CHECKING:
    import datasets

_MIXED_SHARE = 0.5


class Batch(NamedTuple):
    """One collated batch.

    Attributes:
        image: float32 (N, 1, S, S), normalised.
        mask: float32 (N, 1, S, S), 0 or 1; in between where two images were mixed.
        classes: float32 (N, 3), the share of each of `CLASS_NAMES`; 0 or 1 unless mixed.
        index: int64 (N,), positions in the data set, to name images in messages.
        partner: int64 (N,), that of the image mixed in; `index` itself where there is none.
    """

    image: Tensor
    mask: Tensor
    classes: Tensor
    index: Tensor
    partner: Tensor


class LesionDataset(Dataset):
    """A split of the prepared data set as network input.

    Augmentation and mixup draw from a generator seeded with (seed, epoch, index), so that an image
    looks the same in a given epoch whichever process or worker asks for it, and after a resume.

    Args:
        split: columns image, mask, label, image_id.
        preprocessor: shared with serving.
        augmentation: None for validation.
        mixup: parameter of the Beta distribution from which the share of another image is drawn that
            half of the images are blended with, mask and class alike (Zhang et al. 2018,
            arXiv:1710.09412); 0 for none.
        seed: of augmentation and mixup.
        progress: shows a bar on stderr while decoding.
    """

    def __init__(
        self,
        split: datasets.Dataset,
        preprocessor: Preprocessor,
        *,
        augmentation: Augmentation | None = None,
        mixup: float = 0.0,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        self.preprocessor = preprocessor
        self.augmentation = augmentation
        self.mixup = mixup
        self.seed = seed
        self.epoch = 0
        self.image_ids = list(split["image_id"])
        self.labels = np.asarray(split["label"], dtype=np.int64)
        images, painted, masks = [], [], []
        for row in tqdm(split, desc="decode", unit="image", disable=not progress):
            image = decode_image(row["image"])
            images.append(preprocessor.resize_frame(image))
            if augmentation is not None and augmentation.paint_out:
                # At native resolution, where strokes are sharp.
                painted.append(preprocessor.resize_frame(paint_out(image)))
            masks.append(preprocessor.resize_mask(decode_mask(row["mask"])))
        self.images = np.stack(images)
        self.painted_out = painted
        self.masks = np.stack(masks)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        generator = np.random.default_rng((self.seed, self.epoch, index))
        image, mask, classes = self._draw(index, generator)
        partner = index
        if self.mixup and generator.random() < _MIXED_SHARE:
            share = np.float32(generator.beta(self.mixup, self.mixup))
            partner = int(generator.integers(len(self)))
            other = self._draw(partner, generator)
            image, mask, classes = (
                (1 - share) * own + share * added
                for own, added in zip((image, mask, classes), other, strict=True)
            )
        return Batch(
            image=torch.from_numpy(image[None]),
            mask=torch.from_numpy(mask[None]),
            classes=torch.from_numpy(classes),
            index=torch.tensor(index),
            partner=torch.tensor(partner),
        )

    def _draw(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return one image, augmented: float32 image (S, S), mask (S, S) and class shares (3,)."""
        image, mask = self.images[index], self.masks[index]
        if self.augmentation is not None:
            if happens(self.augmentation.paint_out, generator):
                image = self.painted_out[index]
            image, mask = self.augmentation(image, mask, generator)
        classes = np.eye(len(CLASS_NAMES), dtype=np.float32)[self.labels[index]]
        return self.preprocessor.normalise(image), mask.astype(np.float32), classes


class EpochOrder(Sampler[int]):
    """The order of the images in the data set's current epoch, in whole batches.

    It follows from the data set's seed and epoch alone, so that every process and every resumption
    deals the same batches. The images that would fill no whole batch are left out: batch statistics
    of a few images are noise, and the next epoch leaves out others.

    Args:
        dataset: whose `epoch` says which.
        batch_size: images of one optimizer step, over all processes and accumulation steps.
    """

    def __init__(self, dataset: LesionDataset, batch_size: int) -> None:
        self.dataset = dataset
        self.length = len(dataset) // batch_size * batch_size

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.dataset.seed, self.dataset.epoch))
        return iter(generator.permutation(len(self.dataset))[: self.length].tolist())
