"""Training pictures, decoded and resized once and kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from busi_unet.data.augment import Augmentation
from busi_unet.imaging.decode import decode_image, decode_mask
from busi_unet.imaging.preprocess import Preprocessor

if TYPE_CHECKING:
    import datasets


class Batch(NamedTuple):
    """One collated batch.

    Attributes:
        image: float32 (N, 1, S, S), normalised.
        mask: float32 (N, 1, S, S), 0 or 1.
        label: int64 (N,), indices into `CLASS_NAMES`.
        index: int64 (N,), positions in the data set, to name images in messages.
    """

    image: Tensor
    mask: Tensor
    label: Tensor
    index: Tensor


class LesionDataset(Dataset):
    """A split of the prepared data set as network input.

    Augmentation draws from a generator seeded with (seed, epoch, index), so that a picture looks
    the same in a given epoch whichever process or worker asks for it, and after a resume.

    Args:
        split: columns image, mask, label, image_id.
        preprocessor: shared with serving.
        augmentation: None for validation.
        seed: of the augmentation.
        progress: shows a bar on stderr while decoding.
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
        self.preprocessor = preprocessor
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0
        self.image_ids = list(split["image_id"])
        self.labels = np.asarray(split["label"], dtype=np.int64)
        frames, masks = [], []
        for row in tqdm(split, desc="decode", unit="image", disable=not progress):
            frames.append(preprocessor.resize_frame(decode_image(row["image"])))
            masks.append(preprocessor.resize_mask(decode_mask(row["mask"])))
        self.frames = np.stack(frames)
        self.masks = np.stack(masks)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        frame, mask = self.frames[index], self.masks[index]
        if self.augmentation is not None:
            generator = np.random.default_rng((self.seed, self.epoch, index))
            frame, mask = self.augmentation(frame, mask, generator)
        return Batch(
            image=torch.from_numpy(self.preprocessor.normalise(frame)[None]),
            mask=torch.from_numpy(mask[None].astype(np.float32)),
            label=torch.tensor(self.labels[index]),
            index=torch.tensor(index),
        )
