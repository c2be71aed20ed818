"""SimCLR v2's recipe at full size, counted without its three gigabytes."""

from torch import nn

from trainer.methods.method_table import create_method
from trainer.nets.shapes import shapes_only
from trainer.recipes.recipe import read_recipe, resolve
from trainer.setup.networks import build_backbone


def test_the_recipe_has_the_papers_parameters() -> None:
    """795 M in the encoder, as google-research/simclr's README counts (with running statistics)."""
    config = resolve(read_recipe("simclrv2_r152x3sk"))
    with shapes_only():
        encoder = build_backbone(config, config.policy.load())
        method = create_method("simclr", encoder, config.method.settings)
    statistics = [b for name, b in encoder.named_buffers() if "running" in name]
    count = sum(t.numel() for t in (*encoder.parameters(), *statistics))
    assert round(count / 1e6) == 795
    layers = method.get_submodule("projector").children()
    widths = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
    assert widths == [6144, 6144, 128]  # as wide as the features; the middle is what is kept
