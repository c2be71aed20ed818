import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from augengine.draw import draw_plan
from augengine.heavy.heavy_ops import NAMES
from augengine.plan import FILLED
from augengine.policies import load_policy, override_policy
from shards.index import ShardIndex
from shards.packing.pack import pack
from shards.sources.folder import FolderSource
from tools import views_picture
from tools.contact_sheet import COLOURS, SheetRow, describe_view, draw_sheet
from tools.show_views import main

SMALL = ["--views", "2+6", "--sizes", "32+16", "--backend", "reference"]


def show(folder, out, *options):
    return main(["--data", str(folder), "--out", str(out), *SMALL, *options])


def test_a_row_an_image_and_the_same_picture_again(shard_folder, tmp_path, capsys):
    """The PNG grows by a row an image, and the same command writes the same bytes."""
    one, three, again = (tmp_path / f"{name}.png" for name in ("one", "three", "again"))
    assert show(shard_folder, one, "--num-images", "1") == 0
    assert show(shard_folder, three, "--num-images", "3") == 0
    assert show(shard_folder, again, "--num-images", "3") == 0
    assert three.read_bytes() == again.read_bytes()
    assert height_of(three) - height_of(one) == 2 * 274
    assert "3 images, 8 views each" in capsys.readouterr().err


def height_of(path):
    with Image.open(path) as picture:
        return picture.height


def test_seed_epoch_and_ids_choose_the_picture(shard_folder, tmp_path):
    """Another seed, epoch or id list is another picture; ids come in the order given."""
    settings = [(), ("--seed", "1"), ("--epoch", "1"), ("--ids", "3,17"), ("--ids", "17,3")]
    pictures = set()
    for i, options in enumerate(settings):
        assert show(shard_folder, tmp_path / f"{i}.png", "--num-images", "2", *options) == 0
        pictures.add((tmp_path / f"{i}.png").read_bytes())
    assert len(pictures) == len(settings)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 60000)])
def test_the_smallest_and_the_longest_images_are_drawn(size):
    """A window thinner than a pixel of the picture is still framed."""
    policy = load_policy("swav").with_views((2, 6), (32, 16))
    plan = draw_plan(policy, np.arange(1), np.zeros(1), np.array([size]), 0)
    flat = [np.zeros((s, s, 3), dtype=np.uint8) for s in plan.size_px]
    row = SheetRow(np.zeros((*size, 3), np.uint8), tuple(flat), ("sample 0", "key"))
    assert draw_sheet([row], plan, "title", "subtitle").width > 300


def test_every_view_is_framed_in_its_colour_and_shown():
    """Each view's pixels stand in the sheet inside a frame of its colour, and its window too."""
    policy = load_policy("swav").with_views((2, 6), (32, 16))
    plan = draw_plan(policy, np.arange(1), np.zeros(1), np.array([[48, 64]]), 0)
    flat = [np.full((s, s, 3), 20 * v + 40, dtype=np.uint8) for v, s in enumerate(plan.size_px)]
    row = SheetRow(np.full((48, 64, 3), 5, np.uint8), tuple(flat), ("sample 0", "key"))
    sheet = np.asarray(draw_sheet([row], plan, "title", "subtitle"))
    for v, size_px in enumerate(plan.size_px.tolist()):
        colour = [int(COLOURS[v][i : i + 2], 16) for i in (1, 3, 5)]
        framed = np.argwhere((sheet == colour).all(-1))
        assert (framed[:, 1] < 300).any()  # the window, on the source
        assert (framed[:, 1] >= 300).any()  # the frame
        shown = (sheet == 20 * v + 40).all(-1).sum()
        side = 7 * 32 if size_px == 32 else 6 * 16
        assert side**2 - 20 * 15 <= shown <= side**2  # all of it but the number's tag
    # The first view's window lies on top, on a source shown 4 times as large.
    y, x, h, w = (4 * plan.window[0, 0]).tolist()
    left, top = np.argwhere((sheet == 5).all(-1)).min(axis=0)[::-1]
    assert hex_of(sheet[top + y + h - 1, left + x + w - 1]) == COLOURS[0]
    assert hex_of(sheet[top + y + h // 2, left + x]) == COLOURS[0]


HEAVY = "policy.heavy={randaugment: {num_ops: 2, prob: 0.5}, grid_shuffle: {prob: 0.4}}"


def test_heavy_views_are_shown_and_told(shard_folder, tmp_path, capsys):
    """Behind the global views, by the reference or a backend; without them it is narrower."""
    plain, heavy, made = (tmp_path / f"{name}.png" for name in ("plain", "heavy", "made"))
    assert show(shard_folder, plain, "--num-images", "2") == 0
    assert show(shard_folder, heavy, "--num-images", "2", HEAVY) == 0
    assert "2 images, 8 views and 2 heavy ones each" in capsys.readouterr().err
    assert show(shard_folder, made, "--num-images", "2", HEAVY, "--backend", "fused") == 0
    with Image.open(plain) as one, Image.open(heavy) as two, Image.open(made) as three:
        assert two.width - one.width == 2 * (224 + 12) + 12
        assert two.size == three.size


def test_a_heavy_view_has_its_sources_colour_and_its_own_words():
    """Its pixels stand between the global and the local views; the words are the plan's ops."""
    policy = override_policy(
        load_policy("swav").with_views((2, 2), (32, 16)), {"heavy": {"randaugment": {}}}
    )
    plan = draw_plan(policy, np.arange(1), np.zeros(1), np.array([[48, 64]]), 0)
    sides = [32, 32, 16, 16, 32, 32]
    flat = [np.full((s, s, 3), 20 * v + 40, dtype=np.uint8) for v, s in enumerate(sides)]
    row = SheetRow(np.full((48, 64, 3), 5, np.uint8), tuple(flat), ("sample 0", "key"))
    sheet = np.asarray(draw_sheet([row], plan, "title", "subtitle"))
    lefts = [np.argwhere((sheet == 20 * v + 40).all(-1)).min(axis=0)[1] for v in range(6)]
    assert np.argsort(lefts, kind="stable").tolist() == [0, 1, 4, 5, 2, 3]
    frame = sheet[np.argwhere((sheet == 20 * 5 + 40).all(-1)).max(axis=0)[0] + 1, lefts[5]]
    assert hex_of(frame) == COLOURS[1]
    words = plan.heavy.in_words(0, 1)
    assert len(words) == 2
    assert all(word.split()[0] in " ".join(NAMES).replace("_", " ") for word in words)


def hex_of(pixel):
    return "#" + "".join(f"{value:02x}" for value in pixel)


def test_captions_say_what_the_plan_does():
    """Share of the area first; then only the operations that are applied."""
    policy = load_policy("byol").with_views((2,), (32,))
    num_images = 50
    sizes = np.full((num_images, 2), 100)
    plan = draw_plan(policy, np.arange(num_images), np.zeros(num_images), sizes, 0)
    for b in range(num_images):
        words = describe_view(plan, b, 1)
        area = plan.window[b, 1, 2] * plan.window[b, 1, 3] / 100**2
        assert float(words[0].rstrip("%")) == pytest.approx(100 * area, abs=0.51)
        assert ("flip" in words) == plan.flip[b, 1]
        assert ("gray" in words) == plan.gray[b, 1]
        assert ("sol" in words) == (plan.solarize[b, 1] < 1)
        assert any(word.startswith("blur") for word in words) == (plan.sigma[b, 1] > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "swaw"), "did you mean 'swav'"),
        (("--views", "2+six"), "counts joined by"),
        (("--sizes", "32+0"), "at least 1 pixel"),
        (("--ids", "3,x"), "numbers such as 3,17"),
        (("--ids", "37"), "below the 37 samples"),
        (("--ids=-3,4",), "--ids=3,17"),
        (("--num-images", "0"), "num-images"),
        (
            ("--num-images", "100", "--out", "v.webp"),
            "lies in 1..60 for v.webp, got 100",
        ),
        (("--epoch", "-1"), "epoch"),
        (("--epoch", str(2**32)), "--epoch lies in 0..4294967295, got 4294967296"),
        (("--out", "views.txt"), "--out is a file that ends with"),
        (("--out", "/no/such/folder/v.png"), "in an existing folder"),
    ],
)
def test_wrong_options_are_one_line(shard_folder, tmp_path, capsys, options, message):
    """Whatever is asked wrongly ends with exit code 2 and one line that says what is right."""
    assert show(shard_folder, tmp_path / "v.png", *options) == 2
    assert re.fullmatch(rf"error: [^\n]*{re.escape(message)}[^\n]*\n", capsys.readouterr().err)
    assert not (tmp_path / "v.png").exists()


def test_a_plan_with_backgrounds_needs_masks(shard_folder, tmp_path, capsys):
    """A sample that the plan changes and the set has no mask of is named; nothing is written."""
    index = ShardIndex.open(shard_folder)
    ids = np.arange(4)
    policy = load_policy("byol").with_views((2,), (32,))
    plan = draw_plan(policy, ids, np.zeros(4), index.sizes(ids), 0)
    background = np.zeros((4, 2), np.uint8)
    background[2, 1] = FILLED
    fill, donor = np.zeros((4, 2, 3), np.uint8), np.zeros((4, 2), np.int64)
    replace(plan, background=background, fill=fill, donor=donor).save(tmp_path / "plan.npz")
    out = tmp_path / "v.png"
    words = ["--data", shard_folder, "--plan", tmp_path / "plan.npz", "--out", out]
    assert main(list(map(str, words))) == 1
    assert "images with masks, got sample 2 of" in capsys.readouterr().err
    assert not out.exists()


def test_without_data_it_says_how_to_make_some(capsys):
    """No --data is a usage error that names the command which makes a demo set."""
    assert main([]) == 2
    assert "tools.make_shards demo" in capsys.readouterr().err


def test_an_image_that_cannot_be_shown_is_named(new_shards, tmp_path, capsys):
    """A corrupt image asked for is named, exit code 1, and no picture is written."""
    folder = new_shards()
    entry = ShardIndex.open(folder).entry(3)
    with open(folder / "train-000000.tar", "r+b") as file:
        file.seek(entry.offset)
        file.write(b"not a picture")
    assert show(folder, tmp_path / "v.png", "--ids", "2,3") == 1
    assert "00000003 in train-000000.tar" in capsys.readouterr().err
    assert not (tmp_path / "v.png").exists()


def test_files_are_called_by_their_names(tmp_path, capsys, monkeypatch):
    """Where the set was packed from files: under the picture, and in the line on a bad one."""
    for i in range(3):
        (tmp_path / f"set/c{i}").mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / f"set/c{i}/photo{i}.png")
    pack(FolderSource(tmp_path / "set"), tmp_path / "out", workers=1)
    captions = []

    def draw(rows, *others):
        captions.extend(row.captions for row in rows)
        return draw_sheet(rows, *others)

    monkeypatch.setattr(views_picture, "draw_sheet", draw)
    assert show(tmp_path / "out", tmp_path / "v.png", "--ids", "0,1,2") == 0
    index = ShardIndex.open(tmp_path / "out")
    numbers = [int(index.key(i)) for i in range(3)]
    assert captions == [
        (f"sample {id}    class c{n}", f"photo{n}.png    40x40") for id, n in enumerate(numbers)
    ]
    with open(tmp_path / "out/train-000000.tar", "r+b") as file:
        file.seek(index.entry(1).offset)
        file.write(b"not a picture")
    assert show(tmp_path / "out", tmp_path / "v.png", "--ids", "1") == 1
    assert (
        f"got c{numbers[1]}/photo{numbers[1]}.png, 00000{numbers[1]} in" in capsys.readouterr().err
    )
