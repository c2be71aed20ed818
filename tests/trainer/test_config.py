"""Recipes and config: what ships resolves, what is written reads back, what may change."""

from pathlib import Path

import pytest
import torch
import yaml

from shards.errors import UsageError
from trainer.methods.method_table import METHODS, method_settings
from trainer.nets.backbones import create_backbone
from trainer.nets.resnet import BasicBlock, Bottleneck
from trainer.recipes.recipe import (
    RECIPES,
    as_mapping,
    read_recipe,
    recipe_names,
    resolve,
    to_yaml,
)
from trainer.record.continuation import changed_on_resume


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_whole(name: str) -> None:
    """Every recipe resolves, method and policy know their keys, and it names its source."""
    config = resolve(read_recipe(name))
    method_settings(config.method.name, config.method.settings)
    policy = config.policy.load()
    # Two or four views, but for what is made for many crops, and one where one will do.
    many = config.method.name == "empssl" or name == "mmcr_cifar"
    assert policy.groups[0].count in ((20, 40) if many else (1, 2, 4))
    text = (RECIPES / f"{name}.yaml").read_text()
    assert "python -m trainer.run" in text or "-m trainer.run" in text
    assert "Source:" in text


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_recipes(method: str) -> None:
    """--method NAME finds a published recipe with --data and a demo recipe without."""
    assert {method, f"{method}_demo"} <= set(recipe_names())
    assert resolve(read_recipe(method)).method.name == method
    assert resolve(read_recipe(f"{method}_demo")).data.train == "demo"


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "peak", "decay"),
    [
        ("swav", 200, 256, 0.6, 1e-6),
        ("byol", 300, 4096, 4.8, 1e-6),
        ("mocov2_plus", 200, 256, 0.03, 1e-4),
        ("byol_sgd", 200, 256, 0.03, 1e-4),
        ("simreg", 130, 256, 0.05, 1e-4),
        ("simsiam", 100, 512, 0.1, 1e-4),
        ("barlow", 1000, 2048, 1.6, 32 * 1e-6),  # test_barlow.py: of a gradient 32 times theirs
        ("vicreg", 1000, 2048, 1.6, 1e-6),
        ("dino", 100, 512, 0.06, 1e-4),
        ("dino_vit", 100, 512, 0.001, 0.04),
        ("simclr", 1000, 4096, 4.8, 1e-6),
        ("mocov1", 200, 256, 0.03, 1e-4),
        ("mocov2", 200, 256, 0.03, 1e-4),
        ("mocov3", 100, 4096, 9.6, 1e-6),
        ("fastmoco", 100, 512, 0.1, 1e-4),
        ("instdisc", 200, 256, 0.03, 1e-4),
        ("deepclusterv2", 801, 4096, 4.8, 1e-6),
        ("csimclr", 1000, 4096, 3.2, 1.5e-6),
        ("cbyol", 1000, 4096, 4.0, 1.5e-6),
        ("mochi", 200, 256, 0.03, 1e-4),
    ],
)
def test_published_numbers(name: str, epochs: int, batch: int, peak: float, decay: float) -> None:
    """The published recipes hold the learning rate, decay and length of the authors' scripts."""
    config = resolve(read_recipe(name))
    assert (config.loop.epochs, config.loop.batch_size) == (epochs, batch)
    assert config.optim.base_lr * batch / 256 == pytest.approx(peak)
    assert config.optim.weight_decay == pytest.approx(decay)


# Recipes whose code starts the last norm of every block at 0; all others' starts it at 1.
ZERO_INIT = {
    "byol", "sslhsic",  # haiku's ResNet BlockV1
    "csimclr", "cbyol",  # compressive-visual-representations resnet.py
    "simclr", "simclr_cifar", "simclrv2", "simclrv2_r152x3sk", "distill",  # google-research
    "barlow", "vicreg", "simsiam", "simsiam_cifar", "mocov3", "fastmoco", "mmcr",  # torchvision's
    "fastsiam",  # as simsiam
}  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_blocks_start_as_in_the_code(name: str) -> None:
    """zero_init_residual where the official code has it, and nowhere else."""
    config = resolve(read_recipe(name))
    assert config.backbone.zero_init_residual == (name in ZERO_INIT)
    if name in ZERO_INIT:
        torch.manual_seed(0)
        network = create_backbone(config.backbone.arch, width=0.125, zero_init_residual=True)
        last = [m.last_norm for m in network.modules() if isinstance(m, BasicBlock | Bottleneck)]
        assert last
        assert not any(norm.weight.any() for norm in last)


# The rule by which global crops are drawn, where it is not torchvision's.
OWN_CROPS = {
    "byol": "byol", "sslhsic": "byol",  # sslhsic imports byol's pipeline
    "csimclr": "byol", "cbyol": "byol",  # BYOL's views for both
    "relic": "byol", "relicv2": "byol",  # of their evaluation
    "nnclr": "byol",  # from memory: no official code
    "simclr": "simclr", "simclrv2": "simclr", "simclr_cifar": "simclr", "distill": "simclr",
    "simclrv2_r152x3sk": "simclr",
}  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_crops_are_drawn_as_in_the_code(name: str) -> None:
    """TensorFlow's and JAX's code has its own rule; PyTorch's, and local views, torchvision's."""
    first, *local = resolve(read_recipe(name)).policy.load().groups
    assert {view.crop for view in first.views} == {OWN_CROPS.get(name, "torchvision")}
    assert {view.crop for group in local for view in group.views} <= {"torchvision"}


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("instdisc_cifar", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)),  # cifar.py
        ("mocov1_cifar", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)),
        ("sce_cifar", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)),  # its transforms/utils.py
        ("dcl", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # lightly's IMAGENET_NORMALIZE
        ("dclw", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("simclr", (0, 0, 0), (1, 1, 1)),
        ("swav", (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)),
    ],
)
def test_pixels_are_normalised_as_in_the_code(name: str, mean: tuple, std: tuple) -> None:
    """By the numbers of the script, which are not always the data set's."""
    policy = resolve(read_recipe(name)).policy.load()
    assert (policy.mean, policy.std) == (mean, std)


@pytest.mark.parametrize("name", recipe_names())
def test_config_yaml_is_a_recipe(name: str, tmp_path: Path) -> None:
    """What is written into a run resolves to the same config again."""
    config = resolve(read_recipe(name))
    path = tmp_path / "config.yaml"
    path.write_text("# a head\n" + to_yaml(config))
    assert resolve(read_recipe(str(path))) == config


def test_settings_and_changes_stand_beside_the_name() -> None:
    """method.x and policy.x need no extra level, in YAML and in what is written."""
    config = resolve({"method": {"name": "byol", "out_dim": 8}, "policy": {"blur": 0.0}})
    assert config.method.settings["out_dim"] == 8
    assert all(view.blur == 0 for _, _, view in config.policy.load().flat_views)
    written = yaml.safe_load(to_yaml(config))["method"]
    assert (written["name"], written["out_dim"], written["momentum"]) == ("byol", 8, 0.996)


def test_views_choose_counts_and_sizes() -> None:
    """policy.views and policy.sizes say what --views and --sizes say; extra sizes drop out."""
    policy = resolve({"policy": {"views": "2", "sizes": "32+16"}}).policy.load()
    assert [(g.count, g.size_px) for g in policy.groups] == [(2, 32)]
    policy = resolve({"policy": {"views": "2+4", "sizes": "32+16"}}).policy.load()
    assert [(g.count, g.size_px) for g in policy.groups] == [(2, 32), (4, 16)]


def test_a_group_can_be_changed_alone() -> None:
    """policy.groups changes views of one crop group; those of a group left out are ignored."""
    values = {"groups": [{"scale": [0.5, 1]}, {"scale": [0.1, 0.2]}], "views": "2+1"}
    policy = resolve({"policy": values}).policy.load()
    assert [view.scale for _, _, view in policy.flat_views] == [(0.5, 1), (0.5, 1), (0.1, 0.2)]
    policy = resolve({"policy": values | {"views": "2"}}).policy.load()
    assert [view.scale for _, _, view in policy.flat_views] == [(0.5, 1), (0.5, 1)]
    with pytest.raises(UsageError, match="scael"):
        resolve({"policy": {"groups": [{"scael": [0.5, 1]}]}}).policy.load()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loop": {"epochs": 0}}, "loop.epochs is positive, got 0"),
        ({"loop": {"batch_size": 1}}, "loop.batch_size is at least 2"),
        ({"loop": {"precision": "fp8"}}, "unknown loop.precision 'fp8'"),
        ({"loop": {"seed": -1}}, "loop.seed lies in"),
        ({"data": {"workers": 0}}, "data.workers lies in [1, 1024], got 0"),
        ({"data": {"workers": 10**9}}, "data.workers lies in [1, 1024], got 1000000000"),
        ({"data": {"prefetch": 10**9}}, "data.prefetch lies in [1, 1024], got 1000000000"),
        ({"eval": {"size_px": 10**9}}, "eval.size_px lies in [1, 4096], or is null, got 1"),
        ({"eval": {"size_px": 0}}, "eval.size_px lies in [1, 4096], or is null, got 0"),
        ({"optim": {"base_lr": 1e300}}, "optim.base_lr is at most 1,000,000,000 in size"),
        ({"data": {"on_bad": "skip"}}, "unknown data.on_bad 'skip'"),
        ({"data": {"bad_budget": 2}}, "data.bad_budget is a share"),
        ({"eval": {"fraction": 0}}, "eval.fraction lies in"),
        ({"eval": {"k": 0}}, "eval.k is at least 1, got 0"),
        ({"run": {"device": "tpu"}}, "unknown run.device 'tpu'"),
        ({"run": {"keep": 0}}, "run.keep is at least 1"),
        ({"run": {"save_every_steps": 0}}, "run.save_every_steps is at least 1"),
        ({"optim": {"name": "sdg"}}, "did you mean sgd?"),
        ({"dta": {}}, "did you mean data?"),
        ({"optim": {"base_lr": "high"}}, "optim.base_lr is a finite number, got 'high'"),
    ],
)
def test_a_wrong_value_is_one_line(values: dict, message: str) -> None:
    """A value out of its range is refused with the rule and the value when the config is made."""
    with pytest.raises(UsageError) as error:
        resolve(values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "valid YAML"),
        ("- 1\n- 2\n", "is a mapping of keys"),
        (None, "name or a YAML file"),
    ],
)
def test_a_bad_recipe_is_named(content: str | None, message: str, tmp_path: Path) -> None:
    """A recipe that is missing, torn or no mapping is refused with its path."""
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as error:
        read_recipe(str(path))
    assert "mine.yaml" in str(error.value)


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    """A file with comments only changes nothing."""
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert resolve(read_recipe(str(path))) == resolve({})


def test_changes_that_decide_learning_are_named_on_resume() -> None:
    """A changed rate, method or seed is named old -> new; where and how often may change."""
    before = as_mapping(resolve({"method": {"name": "swav", "out_dim": 8}}))
    same = {"run": {"keep": 9}, "eval": {"k": 5}, "data": {"workers": 7}}
    method = {"method": {"name": "swav", "out_dim": 8}}
    assert changed_on_resume(before, resolve(method | same)) == []
    changed = {"loop": {"seed": 3}, "optim": {"base_lr": 0.5}}
    assert changed_on_resume(before, resolve(changed)) == [
        "loop.seed: 0 -> 3",
        "method.out_dim: 8 -> 128",
        "optim.base_lr: 0.2 -> 0.5",
    ]
