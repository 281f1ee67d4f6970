"""What is trained on, validated with and kept for the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from unet.data.dataset import read_dataset
from unet.data.split import Split, split
from unet.settings import DataSettings


def divided(names: list[str], test_names: list[str] | None = None, **changed: Any) -> Split:
    settings = replace(DataSettings(), **({"train": "*", "validation": ""} | changed))
    return split(names, settings, lambda name: {"list.txt": "a\n\n# b\nc\r\n"}[name], test_names)


def names_of(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_ranges_patterns_and_lists_are_taken_together() -> None:
    found = divided(
        ["0", "1", "2", "10", "a", "b", "c", "night_1"], train="1-10,night_*,@list.txt", validation="b,0"
    )
    assert found.training == ["1", "2", "10", "a", "c", "night_1"]
    assert found.validation == ["0", "b"]
    assert not found.problems


def test_a_range_that_is_a_name_is_that_name() -> None:
    assert divided(["1", "2", "1-2"], train="1-2").training == ["1-2"]


@given(st.integers(3, 60), st.integers(1, 40), st.integers(0, 2**31))
@example_settings(deadline=None, max_examples=50)
def test_shares_divide_what_is_trained_on(count: int, percent: int, seed: int) -> None:
    names = names_of(count)
    found = divided(names, validation=f"{percent}%", test=f"{percent / 2}%", split_seed=seed)
    assert sorted(found.training + found.validation + found.test) == sorted(names)
    assert len(found.validation) == max(1, round(count * percent / 100))
    assert len(found.test) == max(1, round(count * percent / 200))
    assert found.validation == [name for name in names if name in found.validation]
    assert not found.problems


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 2**31), st.booleans())
@example_settings(deadline=None, max_examples=50)
def test_every_image_is_in_one_validation_of_the_folds(count: int, folds: int, seed: int, kept: bool) -> None:
    names, folds = names_of(count), min(folds, count)
    test = "held" if kept else ""
    rounds = [
        divided([*names, "held"], train=f"0-{count}", folds=folds, fold=fold, split_seed=seed, test=test)
        for fold in range(folds)
    ]
    assert sorted(name for found in rounds for name in found.validation) == sorted(names)
    sizes = [len(found.validation) for found in rounds]
    assert max(sizes) - min(sizes) <= 1
    for found in rounds:
        assert sorted(found.training + found.validation) == sorted(names)
        assert found.test == (["held"] if kept else [])


def test_a_share_for_the_test_is_the_same_in_all_folds() -> None:
    rounds = [divided(names_of(20), folds=4, fold=fold, test="20%") for fold in range(4)]
    assert len({tuple(found.test) for found in rounds}) == 1
    in_validation = [name for found in rounds for name in found.validation]
    assert sorted(in_validation + rounds[0].test) == sorted(names_of(20))


def test_another_seed_draws_others_and_a_new_image_moves_none() -> None:
    names = [f"slice_{number}" for number in range(40)]
    first = divided(names, validation="25%", split_seed=1)
    assert first.validation == divided(names, validation="25%", split_seed=1).validation
    assert first.validation != divided(names, validation="25%", split_seed=2).validation
    more = divided([*names, "new"], validation="25%", split_seed=1)
    assert len(set(first.validation) - set(more.validation)) <= 1


def test_the_draw_is_that_of_every_version() -> None:
    # A training that is resumed, or repeated next year, has to be held against the same images.
    assert divided(names_of(10), validation="30%", test="20%").validation == ["6", "7", "9"]


def test_images_for_the_test_apart_are_selected_by_test_alone() -> None:
    found = divided(["a", "b"], ["c", "d"], validation="50%", test="*")
    assert sorted(found.training + found.validation) == ["a", "b"]
    assert found.test == ["c", "d"]
    assert not divided(["a", "b"], ["c", "d"]).test
    assert "c" not in divided(["a", "b"], ["c", "d"], train="a,b").training


def test_lists_are_looked_for_in_the_folder_and_where_they_say(
    settings: DataSettings, folder: Path, tmp_path: Path
) -> None:
    (folder / "train.txt").write_text("\ufeff0\n1.png\n", encoding="utf-8")
    (tmp_path / "held.txt").write_text("5\n")
    dataset = read_dataset(replace(settings, train="@train.txt", validation=f"@{tmp_path}/held.txt"))
    assert tuple(dataset.training.names) == ("0", "1")
    assert tuple(dataset.validation.names) == ("5",)


def test_a_range_that_goes_beyond_the_images_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert divided(names_of(6), train="0-30").training == names_of(6)
    assert "data.train: 0-30 goes beyond the images: the last of them is 5" in caplog.text
    caplog.clear()
    divided(names_of(6), train="0-5")
    assert not caplog.records


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        ("0.2", "a share is written as 20%"),
        (".25", "a share is written as 25%"),
        ("1.png", "without ending: 1"),
    ],
)
def test_what_was_probably_meant_is_said(selection: str, meant: str) -> None:
    (problem,) = divided(names_of(6), validation=selection).problems
    assert meant in problem
