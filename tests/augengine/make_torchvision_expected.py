"""Makes data/torchvision_expected.npz: what torchvision's functional ops give on small inputs.

    python tests/augengine/make_torchvision_expected.py inputs          # scikit-image and -learn
    PEER/bin/python tests/augengine/make_torchvision_expected.py expected     # torchvision, numpy

Two environments, since torchvision is no dependency of this project. Run once; the file is part of
the repository and test_reference.py reads it. It holds the inputs as uint8 and each result as
float32, rounded to 2^-18 (2e-6) so that it packs well; `cases` says, as JSON, which op with which
arguments made result i from which input, `versions` by what. Made with torch 2.15.0 and torchvision
0.29.2 on a CPU.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).parent / "data" / "torchvision_expected.npz"
WINDOWS = ((3, 5, 33, 47, 16), (20, 30, 9, 7, 20), (0, 0, 48, 64, 5), (11, 17, 20, 20, 20))
SMALL = (12, 14, 16, 16)  # top, left, height, width: colour ops
MIDDLE = (10, 20, 20, 22)  # blur: 11 pixels of reflection fit
MEAN, STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)


def photographs() -> dict[str, np.ndarray]:
    """48x64 crops of well-known photographs, and one picture of hard edges."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    return {
        "astronaut": data.astronaut()[90:138, 180:244],
        "coffee": data.coffee()[150:198, 200:264],
        "chelsea": data.chelsea()[100:148, 120:184],
        "china": load_sample_image("china.jpg")[160:208, 300:364],
        "flower": load_sample_image("flower.jpg")[180:228, 300:364],
        "edges": edges(),
    }


def edges() -> np.ndarray:
    """Saturated stripes, a one-pixel checkerboard, black, white and levels around 128."""
    image = np.zeros((48, 64, 3), np.uint8)
    corners = np.array(np.meshgrid([0, 255], [0, 255], [0, 255])).reshape(3, -1).T
    image[:, :32] = corners[np.arange(32) // 4][None]
    image[:, 32:] = 255 * ((np.arange(48)[:, None] + np.arange(32)) % 2)[..., None]
    image[24:, 16:48:3] = (127, 128, 129)
    image[16:20] = 255
    return image


def cases() -> list[dict[str, Any]]:
    """Op, input, box of the input it sees, arguments."""
    found: list[dict[str, Any]] = []

    def add(op: str, images: tuple[str, ...], box: tuple[int, ...], **arguments: Any) -> None:
        found.extend({"op": op, "image": i, "box": box, "arguments": arguments} for i in images)

    for top, left, height, width, size in WINDOWS:
        for bicubic in (False, True):
            images = ("china", "edges")
            add("resize", images, (top, left, height, width), size_px=size, bicubic=bicubic)
    images = ("astronaut", "coffee", "flower", "edges")
    for factor in (0.4, 1.7):
        add("adjust_brightness", images, SMALL, factor=factor)
        add("adjust_contrast", images, SMALL, factor=factor)
        add("adjust_saturation", images, SMALL, factor=factor)
    for turns in (-0.5, -0.07, 0.2):
        add("adjust_hue", images, SMALL, turns=turns)
    add("to_gray", images, SMALL)
    for threshold in (0.5, 128 / 255):
        add("solarize", ("coffee", "edges"), SMALL, threshold=threshold)
    for kernel_px, sigma in ((3, 0.5), (9, 0.1), (9, 2.0), (13, 1.1), (23, 1.7)):
        add("gaussian_blur", ("chelsea", "edges"), MIDDLE, kernel_px=kernel_px, sigma=sigma)
    add("normalize", ("coffee",), SMALL, mean=MEAN, std=STD)
    return found


def run(case: dict[str, Any], image: np.ndarray) -> np.ndarray:
    """The case's result [H, W, 3], by torchvision on a float tensor."""
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as tv

    top, left, height, width = case["box"]
    x = torch.tensor(image).permute(2, 0, 1).to(torch.float32) / 255
    part = x[:, top : top + height, left : left + width]
    a = case["arguments"]
    if case["op"] == "resize":
        mode = InterpolationMode.BICUBIC if a["bicubic"] else InterpolationMode.BILINEAR
        side = a["size_px"]
        # torchvision leaves a bicubic float result unclamped; ours is clamped to [0, 1].
        y = tv.resized_crop(x, top, left, height, width, [side, side], mode, antialias=True)
        y = y.clamp(0, 1)
    elif case["op"] == "to_gray":
        y = tv.rgb_to_grayscale(part, 3)
    elif case["op"] == "gaussian_blur":
        y = tv.gaussian_blur(part, [a["kernel_px"]] * 2, [a["sigma"]] * 2)
    else:
        y = getattr(tv, case["op"])(part, *a.values())
    return y.permute(1, 2, 0).contiguous().numpy()


def main(step: str) -> None:
    """Write the inputs, or add the results to them."""
    if step == "inputs":
        np.savez_compressed(PATH, **photographs())
        return
    import torch
    import torchvision

    with np.load(PATH) as file:
        images = {name: file[name] for name in file.files if file[name].dtype == np.uint8}
    listed = cases()
    arrays: dict[str, Any] = dict(images)
    for i, case in enumerate(listed):
        result = run(case, images[case["image"]])
        arrays[f"result_{i}"] = (np.rint(result * 2.0**18) / 2.0**18).astype(np.float32)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    arrays |= {"cases": json.dumps(listed), "versions": json.dumps(versions)}
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
