"""The names that moved to `prepare`, `prepared` and `summary`, until all callers have followed."""

from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import (
    COLUMNS,
    IMAGE_BY_IMAGE,
    SPLITS,
    load_prepared,
    read_record,
    resplit,
    split_hash,
    split_of_fold,
)
from busi_unet.data.summary import summarise

__all__ = [
    "COLUMNS",
    "IMAGE_BY_IMAGE",
    "SPLITS",
    "load_prepared",
    "prepare",
    "read_record",
    "resplit",
    "split_hash",
    "split_of_fold",
    "summarise",
]
