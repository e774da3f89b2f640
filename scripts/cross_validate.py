"""Trains and tests once per fold, and judges all images together; started again, it goes on where it stopped.

Exit codes: those of train.py. The figures go to stdout, progress to stderr.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli import command, print_json
from busi_unet.data.folds import N_FOLDS
from busi_unet.evaluation.subgroups import add_marks_flag, marks_of
from busi_unet.training.options import TrainOptions, build_parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser(
        prog="cross_validate.py",
        description=__doc__.partition("\n")[0],
        without=("fold", "validation_fold", "resume", "output"),
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/cross_validation"),
        help="folder for a run per fold, fold-0 to fold-4, and the report, results (default: %(default)s)",
    )
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        default=list(range(N_FOLDS)),
        metavar="K",
        help="test folds to do now (default: all)",
    )
    add_marks_flag(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of tables")
    arguments = vars(parser.parse_args(argv))
    folds, as_json = arguments.pop("folds"), arguments.pop("json")
    marks = marks_of(arguments.pop("by"))
    options = TrainOptions(**arguments)
    # After the arguments, so that --help and a wrong flag are answered at once.
    from busi_unet.evaluation.report import to_markdown
    from busi_unet.training.cross_validation import cross_validate, results_folder

    evaluation = cross_validate(
        options,
        folds=folds,
        provenance={
            "command": shlex.join(["scripts/cross_validate.py", *argv]),
            "training_seed": options.seed,
        },
        marks=marks,
    )
    if as_json:
        print_json(evaluation.summary)
    else:
        print(to_markdown(evaluation))
    print(f"\nReport written to {results_folder(options.output, folds)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
