"""The workloads of the CPU benchmark: which policy, on which images, who is timed from where."""

from collections.abc import Sequence
from dataclasses import dataclass

from augengine.policies import load_policy, override_policy
from augengine.policy import Policy
from tools.profiling.augment_cases import DECODE, END_TO_END, FROM_BYTES, FROM_PIXELS
from tools.profiling.peers import LIBRARIES, PEER_KINDS

PHOTOGRAPHS, TILES, CAMERA, SMALL = "photographs", "tiles", "camera", "small"
FROM_FILES = (FROM_BYTES, END_TO_END)
BATCH_SIZES = {PHOTOGRAPHS: 32, CAMERA: 32, TILES: 256, SMALL: 256}


@dataclass(frozen=True, slots=True)
class Timed:
    """One workload; kinds are those of augment_cases.py."""

    policy: Policy
    images: str
    fused: Sequence[str] = (DECODE, FROM_PIXELS, FROM_BYTES, END_TO_END)
    others: Sequence[str] = (FROM_BYTES,)  # of our backends besides fused
    peers: Sequence[str] = PEER_KINDS
    libraries: Sequence[str] = LIBRARIES


def workloads() -> dict[str, Timed]:
    """Those of cuts, in which `fused` has its targets; `tiny` is of the small cuts."""
    swav, byol, small = _policies()
    return {
        "swav": Timed(swav, PHOTOGRAPHS),
        "byol": Timed(byol, PHOTOGRAPHS),
        # lightly's own BYOL crops so, and stands under byol.
        "byol bilinear": Timed(
            override_policy(byol, {"interpolation": "bilinear"}), PHOTOGRAPHS, others=(), peers=()
        ),
        # lightly's SimCLR blurs, our tiny policy does not.
        "tiny": Timed(
            small.with_views((2,), (32,)),
            TILES,
            fused=(FROM_PIXELS,),
            others=(FROM_PIXELS,),
            peers=(FROM_PIXELS,),
            libraries=("torchvision v2",),
        ),
    }


def camera_workloads() -> dict[str, Timed]:
    """Those of a camera's photographs beside the same of cuts, and of files of 64 pixels."""
    swav, byol, small = _policies()
    kinds = (DECODE, *FROM_FILES)
    return {
        "swav": Timed(swav, PHOTOGRAPHS, kinds, (), FROM_FILES),
        "swav camera": Timed(swav, CAMERA, kinds, (FROM_BYTES,), FROM_FILES),
        "byol": Timed(byol, PHOTOGRAPHS, kinds, (), FROM_FILES),
        "byol camera": Timed(byol, CAMERA, kinds, (FROM_BYTES,), FROM_FILES),
        "small": Timed(
            small.with_views((2,), (64,)),
            SMALL,
            kinds,
            (FROM_BYTES,),
            FROM_FILES,
            ("torchvision v2",),
        ),
    }


def _policies() -> tuple[Policy, Policy, Policy]:
    # Windows as the peers draw them, or ours would be of another size.
    byol, simclr = (
        override_policy(load_policy(name), {"crop": "torchvision"}) for name in ("byol", "simclr")
    )
    return (
        load_policy("swav").with_views((2, 6), (224, 96)),
        byol.with_views((2,), (224,)),
        override_policy(simclr, {"blur": 0.0, "scale": [0.2, 1.0]}),
    )
