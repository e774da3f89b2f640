"""The finder of copies and the published folds on the real images, all from one minute of work."""

from __future__ import annotations

import csv
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from busi_unet.data import folds
from busi_unet.data.duplicates import CopyPair
from busi_unet.data.fold_table import FoldRow, read_busi_folds, read_folds

pytestmark = [pytest.mark.slow, pytest.mark.busi]


class MadeAnew(NamedTuple):
    """The folds as they come from the pixels, the table written, and the pairs that they rest on."""

    rows: list[FoldRow]
    table: Path
    pairs: list[CopyPair]


@pytest.fixture(scope="module")
def made_anew(busi_root: Path, tmp_path_factory: pytest.TempPathFactory) -> MadeAnew:
    table, found, find_copies = tmp_path_factory.mktemp("folds") / "folds.csv", [], folds.find_copies

    def overheard(*arguments: Any, **options: Any) -> list[CopyPair]:
        found.extend(find_copies(*arguments, **options))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "find_copies", overheard)
        return MadeAnew(folds.publish_folds(busi_root, table), table, found)


def test_the_published_table_comes_out_again(made_anew: MadeAnew) -> None:
    """Its hashes too, which are those of the pixels."""
    assert made_anew.rows == read_folds(made_anew.table) == read_busi_folds()


def test_the_finder_reaches_its_figures(made_anew: MadeAnew, busi_root: Path) -> None:
    table = busi_root.parent / "groups.csv"
    if not table.is_file():
        pytest.skip(f"{table} is missing: no list of copies to measure against")
    with table.open(encoding="utf-8", newline="") as stream:
        listed = {row["image"]: row for row in csv.DictReader(stream)}
    rows = [listed[row.image_id] for row in made_anew.rows]

    published = _pairs_within([row["published_group"] for row in rows])
    linked = _pairs_within([row.group for row in made_anew.rows])
    within = _pairs_within([row["group"] for row in rows])
    direct = {(pair.first, pair.second) for pair in made_anew.pairs}
    assert len(published & linked) / len(published) >= 0.98
    assert len(linked - within) / len(linked) <= 0.05
    assert len(direct - within) / len(direct) <= 0.05


def _pairs_within(groups: list) -> set[tuple[int, int]]:
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    return {pair for group in members.values() for pair in combinations(group, 2)}
