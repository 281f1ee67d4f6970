"""Segment new images with a trained model: `python predict.py outputs/my-run photos/ --into masks/`.

docs/training-predict.md explains it.
"""

import os
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace

_EXAMPLES = """
examples:
  python predict.py outputs/2025-01-31/12-00-00 photos/ --into masks/
  python predict.py runs:/0123456789abcdef/model stack.tif more/*.png --into masks/ --overlay
  python predict.py models:/cells/3 gs://bucket/photos --into gs://bucket/masks --average turns

Started again, it makes the masks that are missing. Exit status: 0 all masks are there, 1 some images
could not be read, or none could be predicted, 2 the command makes no sense.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    options = _parse(arguments)
    # Late, because TensorFlow takes seconds to import: `--help` need not wait for it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from unet.errors import UnetError

    try:
        return _predict(options)
    except UnetError as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\npredict.py: stopped. The same command goes on where it was.", file=sys.stderr)
        return 130


def _predict(options: Namespace) -> int:
    from unet.mask_files import MaskFiles, Outputs
    from unet.predicted_files import Outcome, find_sources, predict_files
    from unet.prediction import Predictor, load_model

    sources = find_sources(options.images, options.into)
    model, description = load_model(options.model)
    given = {name: getattr(options, name) for name in ("tile", "overlap", "average", "shifts")}
    given = {name: value for name, value in given.items() if value is not None}
    if "tile" in given and "overlap" not in given:  # the training's may be too much for it
        given["overlap"] = min(description.inference.overlap, given["tile"] // 2)
    predictor = Predictor(model, description, replace(description.inference, **given))
    outputs = Outputs(options.palette, options.probabilities or "", options.overlay)
    masks = MaskFiles(options.into, predictor, outputs, options.overwrite)
    started = time.monotonic()

    def report(outcome: Outcome, path: str) -> None:
        line = f"{outcome.files}/{len(sources)}  {path}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    outcome = predict_files(predictor, sources, masks, report)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    seconds = time.monotonic() - started
    there = f", {outcome.there} were there already" if outcome.there else ""
    print(f"{outcome.written} masks written into {options.into} in {seconds:.1f} s{there}.", file=sys.stderr)
    for path, problem in outcome.failed.items():
        print(f"  {path} {problem}", file=sys.stderr)
    if outcome.failed:
        print(f"{len(outcome.failed)} of {len(sources)} files have no mask, or not all.", file=sys.stderr)
    return 1 if outcome.failed else 0


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(
        prog="predict.py",
        description="Segment images with a trained model.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the output directory of a training, the model.keras in it, or an MLflow URI (runs:/…, models:/…)",
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image files (PNG, JPEG, TIFF, BMP; 8 or 16 bit; stacks), or directories of them; local or gs://",
    )
    parser.add_argument(
        "--into", metavar="DIR", required=True, help="where the masks go, each as <image>.png"
    )
    parser.add_argument(
        "--palette",
        action="store_true",
        help="colour the masks; their values stay those of the training's masks",
    )
    parser.add_argument(
        "--probabilities",
        choices=["8", "16", "npy"],
        help="beside each mask: a PNG of 8 or 16 bit for each class, or one float32 .npy of all",
    )
    parser.add_argument(
        "--overlay", action="store_true", help="beside each mask: the image with the classes over it"
    )
    parser.add_argument(
        "--average",
        choices=["none", "flips", "turns"],
        help="mean over mirrored (4) or turned and mirrored (8) images: slower, a little better",
    )
    parser.add_argument(
        "--shifts", type=int, metavar="N", help="mean over N * N places of the image, each a pixel further"
    )
    parser.add_argument(
        "--tile", type=int, metavar="PIXELS", help="images larger than this are predicted in tiles"
    )
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help="what neighbouring tiles share")
    parser.add_argument("--overwrite", action="store_true", help="make masks anew that are there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
