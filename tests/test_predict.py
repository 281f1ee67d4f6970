"""predict.py as people call it: which masks it writes, which it leaves, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import predict
from tests.unet.results.pictures import half_bright, threshold_model, threshold_settings
from unet.data.examples import Example
from unet.description import Description
from unet.export import write_model
from unet.models import with_probabilities

ROOT = Path(predict.__file__).parent
EXAMPLE = half_bright(20, 24, 12)


def make_model(path: Path, turned_round: bool = False) -> str:
    model = with_probabilities(threshold_model())
    if turned_round:
        model.set_weights([-weight for weight in model.get_weights()])
    write_model(model, Description.of(threshold_settings(), 255), path)
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("training"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, one of them deeper."""
    for name in ("a.png", "b.tif", "deep/c.png"):
        save(EXAMPLE, tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return tmp_path / "masks"


def save(example: Example, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(example.image[..., 0]).save(path)


def read(path: Path) -> npt.NDArray[np.generic]:
    return np.asarray(Image.open(path))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(*arguments: object) -> int:
    return predict.main([str(argument) for argument in arguments])


def test_masks_have_the_values_of_the_training_and_the_places_of_their_images(
    model: str, photos: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, photos, "--into", masks) == 0

    assert names(masks) == ["a.png", "b.png", "deep/c.png"]
    for name in names(masks):
        np.testing.assert_array_equal(read(masks / name), EXAMPLE.mask * 255)
    said = capsys.readouterr()
    assert said.out == ""
    assert "3/3" in said.err and "3 masks written" in said.err


def test_an_image_larger_than_a_tile(model: str, masks: Path, tmp_path: Path) -> None:
    large = half_bright(100, 150, 90)
    save(large, tmp_path / "large.png")

    assert run(model, tmp_path / "large.png", "--into", masks, "--tile", 32) == 0
    np.testing.assert_array_equal(read(masks / "large.png"), large.mask * 255)


def test_a_stack_gives_a_mask_for_each_page(model: str, masks: Path, tmp_path: Path) -> None:
    pages = [half_bright(bright_from=start) for start in (4, 8, 12)]
    first, *rest = [Image.fromarray(page.image[..., 0]) for page in pages]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=rest)

    assert run(model, tmp_path / "stack.tif", "--into", masks) == 0
    assert names(masks) == ["stack-000.png", "stack-001.png", "stack-002.png"]
    for name, page in zip(names(masks), pages, strict=True):
        np.testing.assert_array_equal(read(masks / name), page.mask * 255)


def test_a_16_bit_colour_image_is_read_as_grey_as_in_the_training(
    model: str, masks: Path, tmp_path: Path
) -> None:
    Image.fromarray(EXAMPLE.image[..., 0].astype(np.uint16) * np.uint16(257)).save(tmp_path / "deep.png")
    Image.fromarray(np.repeat(EXAMPLE.image, 3, axis=-1)).save(tmp_path / "colour.png")

    assert run(model, tmp_path / "deep.png", tmp_path / "colour.png", "--into", masks) == 0
    for name in ("deep.png", "colour.png"):
        np.testing.assert_array_equal(read(masks / name), EXAMPLE.mask * 255)


def test_an_image_that_cannot_be_read_does_not_stop_the_others(
    model: str, photos: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "aa.png").write_bytes(b"no image")
    (photos / "torn.png").write_bytes((photos / "a.png").read_bytes()[:60])

    assert run(model, photos, photos / "a.png", "--into", masks) == 1
    assert names(masks) == ["a.png", "b.png", "deep/c.png"]
    said = capsys.readouterr().err
    assert "aa.png cannot be read as an image" in said
    assert "torn.png" in said
    assert "2 of 5 files have no mask" in said


def test_masks_that_are_there_are_left(
    model: str, photos: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(model, photos, "--into", masks)
    (masks / "b.png").unlink()
    before = (masks / "a.png").stat().st_mtime_ns
    capsys.readouterr()

    assert run(model, photos, "--into", masks) == 0
    assert "1 masks written" in capsys.readouterr().err
    assert (masks / "a.png").stat().st_mtime_ns == before
    assert names(masks) == ["a.png", "b.png", "deep/c.png"]


def test_masks_of_another_model_are_neither_kept_nor_overwritten_unless_one_says_so(
    model: str, photos: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(model, photos, "--into", masks)
    other = make_model(tmp_path / "other", turned_round=True)

    assert run(other, photos, "--into", masks) == 1
    assert "a.png was made by another model, or with other settings" in capsys.readouterr().err
    np.testing.assert_array_equal(read(masks / "a.png"), EXAMPLE.mask * 255)

    assert run(other, photos, "--into", masks, "--overwrite") == 0
    np.testing.assert_array_equal(read(masks / "a.png"), 255 - EXAMPLE.mask * 255)


def test_a_file_of_somebody_else_is_not_overwritten(
    model: str, photos: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(EXAMPLE, masks / "a.png")
    before = (masks / "a.png").read_bytes()

    assert run(model, photos, "--into", masks) == 1
    assert "was made by something else than predict.py" in capsys.readouterr().err
    assert (masks / "a.png").read_bytes() == before


def test_what_is_asked_for_later_is_added(model: str, photos: Path, masks: Path) -> None:
    run(model, photos / "a.png", "--into", masks)
    assert run(model, photos / "a.png", "--into", masks, "--overlay") == 0

    assert names(masks) == ["a.overlay.png", "a.png"]
    overlay = read(masks / "a.overlay.png").astype(int)
    assert (np.ptp(overlay[:, 0], axis=-1) == 0).all()  # the first class leaves the grey image
    assert (np.ptp(overlay[:, -1], axis=-1) > 30).all()


def test_a_palette_colours_a_mask_and_leaves_its_values(model: str, photos: Path, masks: Path) -> None:
    assert run(model, photos / "a.png", "--into", masks, "--palette") == 0

    mask = Image.open(masks / "a.png")
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), EXAMPLE.mask * 255)
    assert mask.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    assert mask.convert("RGB").getpixel((23, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("depth", "white"), [("8", 255), ("16", 65535)])
def test_probabilities_as_pictures(model: str, photos: Path, masks: Path, depth: str, white: int) -> None:
    assert run(model, photos / "a.png", "--into", masks, "--probabilities", depth) == 0

    assert names(masks) == ["a.png", "a.probability-0-dark.png", "a.probability-1-bright.png"]
    dark, bright = (read(masks / name).astype(int) for name in names(masks)[1:])
    assert dark.max() == bright.max() == white
    assert abs(dark + bright - white).max() <= 1


def test_probabilities_as_numbers(model: str, photos: Path, masks: Path) -> None:
    assert run(model, photos / "a.png", "--into", masks, "--probabilities", "npy") == 0

    probabilities = np.load(masks / "a.probabilities.npy")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (20, 24, 2))
    np.testing.assert_array_equal(probabilities.argmax(-1), EXAMPLE.mask)


def test_two_images_that_would_have_the_same_mask_are_named(
    model: str, photos: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(EXAMPLE, photos / "a.tif")

    assert run(model, photos, "--into", masks) == 1
    assert "would have the same mask, a.png" in capsys.readouterr().err
    assert not masks.exists()


def test_masks_below_the_images_are_no_images(model: str, photos: Path) -> None:
    masks = photos / "masks"
    assert run(model, photos, "--into", masks) == 0
    assert run(model, photos, "--into", masks) == 0

    assert names(masks) == ["a.png", "b.png", "deep/c.png"]


def test_masks_in_place_of_the_images_are_refused(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (photos / "a.png").read_bytes()

    assert run(model, photos / "a.png", "--into", photos, "--overwrite") == 1
    assert "would take its place" in capsys.readouterr().err
    assert (photos / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{model}", "nowhere"), "There is no nowhere"),
        (("{model}", "{empty}"), "has no image below it"),
        (("nowhere", "{photos}"), "There is no nowhere. A model is"),
        (("{model}", "{photos}", "--tile", "3"), "inference.tile is 3; it has to be"),
        (("{model}", "{photos}", "--tile", "32", "--overlap", "30"), "inference.overlap is 30; it has to be"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_written(
    model: str,
    photos: Path,
    masks: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"model": model, "photos": photos, "empty": tmp_path / "empty"}

    assert run(*(argument.format(**places) for argument in arguments), "--into", masks) == 1
    said = capsys.readouterr().err
    assert said.startswith("predict.py: ") and message in said
    assert not masks.exists()


def test_images_and_masks_may_lie_where_only_tensorflow_finds_them(model: str, photos: Path) -> None:
    import tensorflow as tf

    # A file system of TensorFlow's own: like gs://, without a network.
    tf.io.gfile.makedirs("ram://photos")
    tf.io.gfile.copy(str(photos / "a.png"), "ram://photos/a.png")

    assert run(model, "ram://photos", "--into", "ram://masks") == 0
    with tf.io.gfile.GFile("ram://masks/a.png", "rb") as file:
        content = file.read()
    assert content.startswith(b"\x89PNG")
    assert run(model, "ram://photos/a.png", "--into", "ram://masks") == 0


def test_ctrl_c_ends_with_a_word_and_whole_files(
    model: str, photos: Path, masks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unet.mask_files import MaskFiles

    write, written = MaskFiles.write, list[str]()

    def interrupted(self: MaskFiles, name: str, *rest: object) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(name)
        write(self, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MaskFiles, "write", interrupted)

    assert run(model, photos, "--into", masks) == 130
    assert "The same command goes on" in capsys.readouterr().err
    assert names(masks) == ["a.png"]


def test_help_loads_neither_tensorflow_nor_mlflow() -> None:
    script = (
        "import runpy, sys; sys.argv = ['predict.py', '--help']\n"
        "try: runpy.run_path('predict.py', run_name='__main__')\n"
        "finally: print('loaded', {'tensorflow', 'keras', 'mlflow', 'numpy', 'unet'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "loaded set()" in done.stdout
    assert "--probabilities" in done.stdout
