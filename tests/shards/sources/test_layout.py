"""How a folder lies: what is refused with what to type instead, what is told, what is meant."""

from pathlib import Path

import pytest

from shards.errors import UsageError
from shards.sources.folder import FolderSource

CLASSES = ("cat/1.jpg", "dog/1.jpg")


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def below(folder: str, names: tuple[str, ...] = CLASSES) -> list[str]:
    return [f"{folder}/{name}" for name in names]


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (below("train") + below("val"), "give {root}/train, or --split train"),
        (below("test") + below("train"), "give {root}/train, or --split train"),
        (["train2017/1.jpg", "val2017/2.jpg"], "--split train2017"),
        (["train_images/1.jpg", "test_images/2.jpg"], "--split train_images"),
        ([*below("train"), "val/images/1.jpg", "docs/logo.png"], "--split train"),
        ([*below("train"), "unlabeled/1.jpg"], "--split train"),
        (
            [*below("seg_train/seg_train"), *below("seg_test/seg_test"), "seg_pred/1.jpg"],
            "seg_train, seg_test beside seg_pred; give {root}/seg_train, or --split seg_train",
        ),
        (["train/1.jpg", "test/1.jpg", "loose.jpg"], "--split train"),
        (
            below("animals"),
            "one folder, animals, around 2 (cat, dog) in {root}; give {root}/animals",
        ),
        (below("a/b"), "give {root}/a/b"),
        (below("set/train") + below("set/val"), "give {root}/set --split train"),
        (below("images/train") + below("images/val"), "give {root}/images --split train"),
        (["images/1.jpg", "masks/1.png"], "give {root}/images"),
        (["JPEGImages/1.jpg", "SegmentationClass/1.png"], "give {root}/JPEGImages"),
    ],
)
def test_what_is_wrong_for_sure_is_refused(tmp_path: Path, names: list[str], remedy: str) -> None:
    """Splits, a folder around all classes and masks become no classes; the remedy can be typed."""
    with pytest.raises(UsageError, match="got") as refused:
        FolderSource(make(tmp_path / "set", *names))
    assert remedy.format(root=tmp_path / "set") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["train/1.jpg", "bus/1.jpg", "car/1.jpg"], ("bus", "car", "train")),
        (["bullet_train/1.jpg", "test_tube/1.jpg", "car/1.jpg"], None),
        (["bullet_train/images/1.jpg", "test_tube/images/1.jpg", "car/images/1.jpg"], None),
        (["bullet_train/1.jpg"], ("bullet_train",)),
        (["n01/images/1.jpg", "n02/images/1.jpg"], ("n01", "n02")),
        (["images/1.jpg", "dog/1.jpg"], ("dog", "images")),
    ],
)
def test_what_may_be_meant_is_taken(
    tmp_path: Path, names: list[str], classes: tuple[str, ...] | None
) -> None:
    """A class of trains is a class, and a level of order inside the classes is no matter."""
    source = FolderSource(make(tmp_path, *names))
    assert source.classes == (classes or tuple(sorted(name.split("/")[0] for name in names)))
    assert source.notes == ()


def test_a_split_is_found_by_what_its_folder_says(tmp_path: Path) -> None:
    """--split train takes train2017, unless two folders say so."""
    root = make(tmp_path, "train2017/1.jpg", "val2017/2.jpg")
    assert FolderSource(root, "train").names == ["1.jpg"]
    make(root, "train_extra/3.jpg")
    with pytest.raises(UsageError, match=r"'train'.*train2017, train_extra"):
        FolderSource(root, "train")


def test_one_folder_with_a_list_of_classes_is_refused(tmp_path: Path) -> None:
    """As in Tiny ImageNet's val: one class images is wrong, when a list has the classes."""
    root = make(tmp_path / "val", *(f"images/val_{i}.JPEG" for i in range(3)))
    lines = [f"val_{i}.JPEG\tn0{i % 2}\t0\t0\t9\t9\n" for i in range(3)]
    (root / "val_annotations.txt").write_text("".join(lines))
    with pytest.raises(UsageError, match="has 3 of them with a class") as refused:
        FolderSource(root)
    assert f"give --labels {root}/val_annotations.txt, or {root}/images for" in str(refused.value)


def test_a_list_in_or_beside_a_flat_folder_is_told(tmp_path: Path) -> None:
    """A set without labels is fine, but who has them learns how to give them."""
    root = make(tmp_path / "set/train", "a1.jpg", "a2.jpg")
    (tmp_path / "set/labels.csv").write_text("id,breed\na1,pug\na2,boxer\n")
    (tmp_path / "set/other.csv").write_text("id,breed\nb1,pug\nb2,boxer\nb3,a1\n")
    (note,) = FolderSource(root).notes
    assert note == (
        f"{tmp_path}/set/labels.csv has 2 of the images with a class; --labels "
        f"{tmp_path}/set/labels.csv takes it"
    )


def test_levels_inside_the_classes_are_told_with_their_counts(tmp_path: Path) -> None:
    """Classes of classes, and splits inside the classes, are packed as they are, and said."""
    names = [f"{kind}/{name}/1.jpg" for kind in ("pets", "cars") for name in ("a", "b")]
    (note,) = FolderSource(make(tmp_path / "1", *names)).notes
    assert "the 4 folders below these 2 are not" in note
    names = [f"{kind}/{part}/1.jpg" for kind in ("nut", "pill") for part in ("train", "test")]
    (note,) = FolderSource(make(tmp_path / "2", *names)).notes
    assert "splits lie inside the class folders (2 in test/, 2 in train/)" in note


def test_texts_beside_each_image_are_no_list(tmp_path: Path) -> None:
    """A box in a text, with a class number that an image has for its name."""
    root = make(tmp_path / "set", *(f"images/{i}.jpg" for i in range(5)))
    for i in range(5):
        (root / f"{i}.txt").write_text(f"{i} 0.5 0.5 0.1 0.1\n")
    assert FolderSource(root).classes == ("images",)
