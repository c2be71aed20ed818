"""lightly's own transform of each method, told the numbers of shared_settings.py.

Runs in the peers' environment. Strengths are lightly's `cj_strength` times each `cj_*`; half of
twice the strength is said here, since DINOTransform hands `cj_strength` to all views but one, which
takes its default of 0.5 (lightly 1.6).
"""

from collections.abc import Callable
from typing import Any

from lightly import transforms
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform

from benchmarks.parity.shared_settings import LOCAL_PX, MEAN, SIZE_PX, STD, Pair, View

_STRENGTH = 0.5


def peer_transform(method: str, pair: Pair) -> Callable[[Any], list[Any]]:
    """From a PIL image to its list of views, by a method's transform and the numbers of a row."""
    return _MAKERS[method](pair)


def _common(view: View) -> dict[str, Any]:
    """What every transform of lightly's calls the same."""
    return {
        "cj_prob": view.jitter,
        "cj_strength": _STRENGTH,
        "cj_bright": view.brightness / _STRENGTH,
        "cj_contrast": view.contrast / _STRENGTH,
        "cj_sat": view.saturation / _STRENGTH,
        "cj_hue": view.hue / _STRENGTH,
        "random_gray_scale": view.gray,
        "hf_prob": view.flip,
        "normalize": {"mean": list(MEAN), "std": list(STD)},
    }


def _one_size(view: View) -> dict[str, Any]:
    """What those of one size take besides; their crops reach up to the whole image."""
    assert view.scale[1] == 1
    return {"input_size": SIZE_PX, "min_scale": view.scale[0], "gaussian_blur": 0.0} | _common(view)


def _twice(make: Callable[..., Any]) -> Callable[[Pair], Any]:
    """Both views by one transform."""

    def made(pair: Pair) -> Any:
        assert pair.views[0] == pair.views[1]
        return make(**_one_size(pair.views[0]))

    return made


def _vicreg(pair: Pair) -> Any:
    view = pair.views[0]
    assert pair.views[1] == view
    return transforms.VICRegTransform(solarize_prob=view.solarize, **_one_size(view))


def _byol(pair: Pair) -> Any:
    first, second = (
        make(solarization_prob=view.solarize, **_one_size(view))
        for make, view in zip((BYOLView1Transform, BYOLView2Transform), pair.views, strict=True)
    )
    return transforms.BYOLTransform(view_1_transform=first, view_2_transform=second)


def _swav(pair: Pair) -> Any:
    view, local = pair.views[0], pair.local
    assert local is not None
    return transforms.SwaVTransform(
        crop_sizes=(SIZE_PX, LOCAL_PX),
        crop_counts=(2, pair.num_local),
        crop_min_scales=(view.scale[0], local.scale[0]),
        crop_max_scales=(view.scale[1], local.scale[1]),
        gaussian_blur=0.0,
        **_common(view),
    )


def _dino(pair: Pair) -> Any:
    first, second = pair.views
    assert first.solarize == 0  # of lightly's first view it always is
    return transforms.DINOTransform(
        global_crop_size=SIZE_PX,
        global_crop_scale=first.scale,
        n_local_views=0,
        gaussian_blur=(0.0, 0.0, 0.0),
        solarization_prob=second.solarize,
        **_common(first),
    )


_MAKERS: dict[str, Callable[[Pair], Any]] = {
    "simclr": _twice(transforms.SimCLRTransform),
    "byol": _byol,
    "simsiam": _twice(transforms.SimSiamTransform),
    "swav": _swav,
    "mocov2": _twice(transforms.MoCoV2Transform),
    "barlow": _byol,
    "vicreg": _vicreg,
    "dino": _dino,
    "nnclr": _twice(transforms.SimCLRTransform),
}
