"""Trains the head that corrects outlines by clicks, and prints how far simulated clicks get.

    python research/clicks.py maps runs/without_busi/model maps_busi.npz --data data/all --source busi
    python research/clicks.py train maps_busbra.npz maps_breast.npz busi_unet/weights/click_head.onnx
    python research/clicks.py evaluate maps_busi.npz --folds 0

The maps of a hospital come from a model that has not seen it, so that they are as wrong as those of a user's
images. For a hospital that the head has not seen either, it is trained on the maps of the others.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from time import process_time

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from busi_unet.config import Preprocess
from busi_unet.data.prepared import decode_row, load_prepared
from busi_unet.evaluation.metrics import dice as dice_of
from busi_unet.evaluation.report import table
from busi_unet.inference.correct import SIZE, STRIDE, Click, click_maps, correct_mask, disc, load_head
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.models.onnx_export import export_onnx

_WIDTHS = (32, 64, 96, 128)
_CLICKS, _SEEDS, _JITTER = 3, (0, 1, 2), 5
_MISSED = 0.1
_SQUARE = Preprocessor(Preprocess(size=192, mirror=False))
Boxes = list[tuple[float, float, float, float] | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    maps = commands.add_parser("maps", help="run a model over the lesions of a source")
    maps.add_argument("model", type=Path)
    maps.add_argument("output", type=Path)
    maps.add_argument("--data", type=Path, required=True)
    maps.add_argument("--source", required=True)
    maps.set_defaults(run=write_maps)
    fit = commands.add_parser("train", help="train a head")
    fit.add_argument("maps", type=Path, nargs="+")
    fit.add_argument("output", type=Path)
    fit.add_argument("--steps", type=int, default=8000)
    fit.set_defaults(run=train)
    measure = commands.add_parser("evaluate", help="print the table of simulated clicks")
    measure.add_argument("maps", type=Path, nargs="+")
    measure.add_argument("--head", type=Path, help="another than the package's")
    measure.set_defaults(run=evaluate)
    for command in (fit, measure):
        command.add_argument("--folds", type=int, nargs="+", default=range(5))
    arguments = vars(parser.parse_args())
    torch.set_num_threads(1)
    arguments.pop("run")(**arguments)


def write_maps(model: Path, output: Path, data: Path, source: str) -> None:
    """Write image, probability, mask and true mask of every image with a lesion, at the network's size."""
    predictor, found = Predictor.from_pretrained(model), []
    for split in load_prepared(data).values():
        for row in tqdm(split.filter(lambda name: name == source, input_columns="source")):
            image, target = decode_row(row)
            if target is not None and target.any():
                prediction = predictor.predict(image, anyway=True)
                probability = np.round(255 * prediction.probability).astype(np.uint8)
                grey = [_SQUARE.resize_image(each) for each in (image, probability)]
                masks = [_SQUARE.resize_mask(each) for each in (prediction.mask, target)]
                found.append((*grey, *masks, row["fold"], max(target.shape)))
    names = ("image", "probability", "mask", "target", "fold", "longer")
    np.savez_compressed(output, **dict(zip(names, map(np.array, zip(*found, strict=True)), strict=True)))


# --- Clicks --------------------------------------------------------------------------------------


def next_click(mask: np.ndarray, target: np.ndarray, jitter: np.ndarray) -> Click | None:
    """Return a click at the centre, moved by `jitter`, of the largest wrong region; None without one."""
    largest, click = 0, None
    for lesion, wrong in ((True, target & ~mask), (False, mask & ~target)):
        regions, count = ndimage.label(wrong)
        if not count:
            continue
        areas = np.bincount(regions.ravel())[1:]
        if areas.max() > largest:
            largest = areas.max()
            place = ndimage.find_objects(regions)[areas.argmax()]
            inside = np.pad(regions[place] == areas.argmax() + 1, 1)
            deepest = np.unravel_index(ndimage.distance_transform_edt(inside).argmax(), inside.shape)
            centre = np.add(deepest, [side.start - 0.5 for side in place]) + jitter
            click = Click(*np.clip(centre, 0, np.subtract(mask.shape, 0.01)).tolist(), lesion)
    return click


# --- The network ---------------------------------------------------------------------------------


def _convolve(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class ClickHead(nn.Module):
    """A U-Net of four levels from a quarter of the size, with sub-pixel convolutions at both ends."""

    def __init__(self) -> None:
        super().__init__()
        first = _WIDTHS[0]
        self.stem = _convolve(3 * STRIDE**2 + 3, first)
        steps = list(itertools.pairwise(_WIDTHS))
        self.down = nn.ModuleList(
            nn.Sequential(_convolve(fine, coarse, 2), _convolve(coarse, coarse)) for fine, coarse in steps
        )
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in steps)
        self.up = nn.ModuleList(_convolve(fine, fine) for fine, _ in steps)
        self.out = nn.Conv2d(first, STRIDE**2, 1)

    def forward(self, maps: Tensor, clicks: Tensor) -> Tensor:
        """Return lesion logits (N, 1, SIZE, SIZE).

        Args:
            maps: (N, 3, SIZE, SIZE) in [0, 1]: image, lesion probability, mask so far.
            clicks: (N, 3, SIZE / STRIDE, SIZE / STRIDE), see `click_maps`.
        """
        levels = [self.stem(torch.cat([F.pixel_unshuffle(maps - 0.5, STRIDE), clicks], 1))]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            x = up(levels.pop() + F.interpolate(narrow(x), scale_factor=2.0))
        return F.pixel_shuffle(self.out(x), STRIDE)


class Probability(nn.Module):
    """A head that returns lesion probabilities instead of logits."""

    def __init__(self, head: ClickHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Tensor, clicks: Tensor) -> Tensor:
        return self.head(maps, clicks).sigmoid()


# --- Training ------------------------------------------------------------------------------------


def train(maps: Sequence[Path], output: Path, steps: int, folds: Sequence[int], batch: int = 16) -> None:
    """Train a head on the maps of some folds and write it as ONNX, with weights in half precision."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    data = torch.cat([_squares(file, folds) for file in maps])
    head = ClickHead().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(head.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    progress = tqdm(range(steps))
    for _ in progress:
        squares = _augment(data[torch.from_numpy(generator.integers(0, len(data), batch))].float(), generator)
        target = squares[:, 3:]
        with torch.autocast("cpu", torch.bfloat16):
            seen, clicks = _clicked(head.eval(), squares, generator)
            logits = head.train()(seen.contiguous(memory_format=torch.channels_last), clicks).float()
        lesion = logits.sigmoid()
        overlap, both = (lesion * target).sum((1, 2, 3)), (lesion + target).sum((1, 2, 3))
        loss = 1 - ((2 * overlap + 1) / (both + 1)).mean()
        progress.set_postfix(dice_loss=f"{loss.item():.3f}")
        loss = loss + 2 * F.binary_cross_entropy_with_logits(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    inputs = {"maps": torch.zeros(1, 3, SIZE, SIZE), "clicks": torch.zeros(1, 3, *2 * [SIZE // STRIDE])}
    output.write_bytes(export_onnx(Probability(head.half().float()), inputs, ("probability",)))


def _squares(file: Path, folds: Sequence[int]) -> Tensor:
    """Return image, probability, mask and true mask in [0, 1], float16 (N, 4, SIZE, SIZE)."""
    held = np.load(file)
    kept = np.isin(held["fold"], folds)
    parts = [
        torch.from_numpy(held[name][kept] * np.float32(scale))
        for name, scale in (("image", 1 / 255), ("probability", 1 / 255), ("mask", 1), ("target", 1))
    ]
    squares = F.interpolate(torch.stack(parts, 1), size=(SIZE, SIZE), mode="bilinear", antialias=True)
    squares[:, 2:] = squares[:, 2:].round()
    return squares.half()


def _augment(squares: Tensor, generator: np.random.Generator) -> Tensor:
    """Return the squares moved, turned, lit and, some, with a map that is worse than it was."""
    count = len(squares)
    zoom, aspect = np.exp(generator.uniform(-0.3, 0.35, count)), np.exp(generator.uniform(-0.12, 0.12, count))
    angle, flip = generator.uniform(-0.2, 0.2, count), generator.choice([-1, 1], count)
    moves = np.zeros((count, 2, 3), dtype=np.float32)
    moves[:, 0, 0], moves[:, 0, 1] = np.cos(angle) / zoom * flip * aspect, -np.sin(angle) / zoom
    moves[:, 1, 0], moves[:, 1, 1] = np.sin(angle) / zoom * flip * aspect, np.cos(angle) / zoom
    moves[:, :, 2] = generator.uniform(-0.2, 0.2, (count, 2))
    grid = F.affine_grid(torch.from_numpy(moves), list(squares.shape), align_corners=False)
    squares = F.grid_sample(squares, grid, align_corners=False)
    gamma, gain = (np.exp(generator.uniform(-width, width, (count, 1, 1))) for width in (0.35, 0.2))
    lit = squares[:, 0].clamp_min(0) ** torch.from_numpy(gamma).float() * torch.from_numpy(gain).float()
    squares[:, 0] = lit.clamp(0, 1)
    squares[:, 2:] = squares[:, 2:].round()
    probabilities = squares[:, 1].clone()
    for square, kind in zip(squares, generator.random(count), strict=True):
        if kind < 0.35:  # missed: nothing, too little, or something elsewhere
            square[2] = 0
            square[1] *= max(0.0, generator.uniform(-0.5, 0.5))
            if kind < 0.15:
                square[1] = torch.maximum(
                    square[1], probabilities[generator.integers(count)] * generator.uniform(0, 0.7)
                )
        elif kind < 0.42:  # elsewhere
            square[1:3] = squares[generator.integers(count), 1:3]
        elif kind < 0.5:  # another threshold
            square[2] = (square[1] >= generator.uniform(0.2, 0.8)).float()
    return squares


def _clicked(head: ClickHead, squares: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return what the head sees after one to four clicks, or a box and fewer clicks, and these."""
    count = len(squares)
    masks, targets = (squares[:, channel].bool().numpy() for channel in (2, 3))
    points: list[list[Click]] = [[] for _ in range(count)]
    boxes: Boxes = [_box(target, generator) if generator.random() < 0.15 else None for target in targets]
    turns = generator.choice([1, 2, 3, 4], count, p=[0.45, 0.3, 0.15, 0.1])
    turns -= np.array([box is not None for box in boxes])
    clicks = np.zeros((count, 3, SIZE // STRIDE, SIZE // STRIDE), dtype=np.float32)
    for index, box in enumerate(boxes):
        clicks[index] = click_maps([], box)
    for turn in range(turns.max()):
        chosen = np.nonzero(turns > turn)[0]
        again = [index for index in chosen if turn or boxes[index]]
        if again:
            now = torch.cat([squares[again, :2], torch.from_numpy(masks[again]).float()[:, None]], 1)
            with torch.no_grad():
                masks[again] = (head(now, torch.from_numpy(clicks[again]))[:, 0] > 0).numpy()
        for index in chosen:
            click = next_click(masks[index], targets[index], generator.uniform(-2, 2, 2))
            if click is not None:
                points[index].append(click)
                clicks[index] = click_maps(points[index], boxes[index])
    seen = torch.cat([squares[:, :2], torch.from_numpy(masks).float()[:, None]], 1)
    return seen, torch.from_numpy(clicks)


def _box(target: np.ndarray, generator: np.random.Generator) -> tuple[float, float, float, float] | None:
    """Return a box around the largest lesion that is a little off."""
    regions, count = ndimage.label(target)
    if not count:
        return None
    place = ndimage.find_objects(regions)[np.bincount(regions.ravel())[1:].argmax()]
    height, width = (side.stop - side.start for side in place)
    top, left, bottom, right = generator.uniform(-0.1, 0.15, 4) * (height, width, height, width)
    rows, columns = place
    return rows.start - top, columns.start - left, rows.stop + bottom, columns.stop + right


# --- Evaluation ----------------------------------------------------------------------------------


def evaluate(maps: Sequence[Path], folds: Sequence[int], head: Path | None) -> None:
    """Print the Dice after 0 to 3 clicks, mean of three seeds; and that of a disc at the first click."""
    rows = []
    for file in maps:
        held = dict(np.load(file))
        kept = np.isin(held["fold"], folds)
        start = process_time()
        images = tqdm(list(zip(*(held[name][kept] for name in held), strict=True)), file.stem)
        names = list(held)
        found = np.array([_dice_by_clicks(dict(zip(names, each, strict=True)), head) for each in images])
        seconds = (process_time() - start) / (len(found) * len(_SEEDS) * _CLICKS)
        by_clicks, by_disc = found[:, :-1], found[:, -1]
        missed = by_clicks[:, 0] < _MISSED
        medians = [np.median(each[missed]) for each in (by_clicks[:, 1], by_disc)]
        cells = [*by_clicks.mean(0), by_disc.mean(), *medians]
        rows.append([file.stem, str(len(found)), *(f"{cell:.3f}" for cell in cells), str(missed.sum())])
        rows[-1].append(f"{1000 * seconds:.0f}")
    header = ["maps", "images", *(f"{count} clicks" for count in range(_CLICKS + 1)), "disc"]
    print(table([*header, "missed, 1 click", "missed, disc", "missed", "ms per click"], rows))


def _dice_by_clicks(held: dict[str, np.ndarray], head: Path | None) -> np.ndarray:
    """Return the Dice after 0, 1, … clicks, then that of a disc at the first, mean of the seeds."""
    target, found = held["target"], []
    jitter = _JITTER * len(target) / held["longer"]
    for seed in _SEEDS:
        generator, mask = np.random.default_rng(seed), held["mask"]
        clicks: list[Click] = []
        dice, by_disc = [dice_of(mask, target)], 1.0
        for _ in range(_CLICKS):
            click = next_click(mask, target, generator.uniform(-jitter, jitter, 2))
            if click is not None:
                clicks.append(click)
                mask = correct_mask(
                    held["image"],
                    held["probability"] / np.float32(255),
                    mask,
                    clicks,
                    head=head and load_head(head),
                )
                if len(clicks) == 1:
                    by_disc = dice_of(disc(target.shape, click.row, click.column), target)
            dice.append(dice_of(mask, target))
        found.append([*dice, by_disc])
    return np.mean(found, axis=0)


if __name__ == "__main__":
    main()
