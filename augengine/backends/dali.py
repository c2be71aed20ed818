"""The `dali` backend: a DALI graph for each crop size, fed with images and the plan's rows.

Every view is one DALI sample, so the views of a crop group, view-major, are one long batch, which
runs in pieces of bounded memory and is written straight into the tensor the backbone gets.
"""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from nvidia.dali.pipeline import Pipeline

from augengine.backends.check import check_inputs
from augengine.backends.dali_graph import (
    DALI_TYPES,
    NO_OP,
    SLOTS_AFTER_HUE,
    SLOTS_BEFORE_HUE,
    GraphSpec,
    build_graph,
)
from augengine.backends.dali_resize import window_feed
from augengine.backends.turning import turn_views
from augengine.plan import HUE, ORDERS, SATURATION, Plan

# Bytes of one intermediate image of all samples in a run; some ten of them live at once. On the
# host larger buffers fall out of the cache and come fresh from the kernel every time.
_RUN_BYTES = {"cpu": 8 << 20, "cuda": 128 << 20}


class DaliBackend:
    """Executes plans with DALI; calls from several threads take turns.

    Graphs are built at the first plan that needs them (a crop size, a normalisation) and kept. The
    result of a sample does not depend on the other samples, nor on the number of threads.
    """

    name = "dali"

    def __init__(self, device: torch.device, dtype: torch.dtype, num_threads: int) -> None:
        self.device = device
        self.dtype = dtype
        self._num_threads = num_threads
        self._graphs: dict[GraphSpec, tuple[int, Pipeline]] = {}  # samples a run, graph
        self._lock = threading.Lock()

    def __call__(self, images: Sequence[torch.Tensor], plan: Plan) -> tuple[torch.Tensor, ...]:
        """Per crop group one [V, B, C, S, S] tensor, channels_last when V and B are flattened."""
        check_inputs(images, plan, self.device)
        # DALI reads host memory through numpy; from torch it would ask for a CUDA stream.
        sources = [self._contiguous(image) for image in images]
        with self._lock:
            outputs = tuple(self._render(sources, plan, views) for views in plan.groups)
        turn_views(outputs, plan)
        return outputs

    def _render(
        self, sources: list[torch.Tensor | np.ndarray], plan: Plan, views: tuple[int, ...]
    ) -> torch.Tensor:
        spec = self._spec(plan, views)
        samples, rows = sources * len(views), feed(plan, views)
        # Torch's memory, since DALI's returns to its pool in the order of one stream only.
        shape = (len(samples), spec.size_px, spec.size_px, 3)
        output = torch.empty(shape, dtype=self.dtype, device=self.device)
        per_run = max(1, _RUN_BYTES[self.device.type] // (spec.size_px**2 * 3 * 4))
        pipeline = self._graph(spec, min(per_run, len(samples)))
        stream = torch.cuda.current_stream(self.device) if spec.is_gpu else None
        for first in range(0, len(samples), per_run):
            run = slice(first, first + per_run)
            inputs = {name: array[run] for name, array in rows.items()}
            outputs = pipeline.run(stream, images=samples[run], **inputs)
            output[run] = torch.from_dlpack(outputs[0].as_tensor())
        return output.unflatten(0, (len(views), -1)).permute(0, 1, 4, 2, 3)

    def _spec(self, plan: Plan, views: tuple[int, ...]) -> GraphSpec:
        # DALI has no bfloat16: torch rounds.
        dtype = self.dtype if self.dtype in DALI_TYPES else torch.float32
        size_px = int(plan.size_px[views[0]])
        return GraphSpec(size_px, plan.mean, plan.std, dtype, self.device.type == "cuda")

    def _graph(self, spec: GraphSpec, num_samples: int) -> Pipeline:
        """The graph for a spec, built anew when a run has more samples than any before."""
        max_samples, pipeline = self._graphs.get(spec, (0, None))
        if pipeline is None or max_samples < num_samples:
            device_id = (self.device.index or 0) if spec.is_gpu else None
            pipeline = build_graph(spec, num_samples, self._num_threads, device_id)
            self._graphs[spec] = (num_samples, pipeline)
        return pipeline

    def _contiguous(self, image: torch.Tensor) -> torch.Tensor | np.ndarray:
        image = image.contiguous()
        return image if image.is_cuda else image.numpy()


def feed(plan: Plan, views: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The graph's inputs but the images: arrays over N = V * B samples, view-major."""

    def samples(array: np.ndarray) -> np.ndarray:  # [B, V, ...] -> [N, ...]
        return np.ascontiguousarray(array[:, list(views)].swapaxes(0, 1)).reshape(
            -1, *array.shape[2:]
        )

    def repeated(array: np.ndarray, dtype: type) -> np.ndarray:  # [V] -> [N]
        return np.repeat(array[list(views)], plan.batch_size).astype(dtype)

    factors = np.stack([plan.brightness, plan.contrast, plan.saturation, plan.hue], axis=-1)
    return {
        **window_feed(
            samples(plan.window), repeated(plan.bicubic, np.bool_), int(plan.size_px[views[0]])
        ),
        "hue": samples(plan.hue),
        "sigma": samples(plan.sigma),
        "kernel_px": repeated(plan.kernel_px, np.int32),
        "solarize": samples(plan.solarize),
        "flip": samples(plan.flip).astype(np.int32),
        **dict(_slots(samples(plan.order), samples(factors), samples(plan.gray))),
    }


def _slots(
    order: np.ndarray,  # [N] row of ORDERS
    factors: np.ndarray,  # [N, 4] by op number; the hue's is not a factor and is not used
    gray: np.ndarray,  # [N] bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Each slot's op and factor: the plan's sequence, cut at the hue; neutral ops leave a hole."""
    sequence = ORDERS[order].astype(np.int32)  # [N, 4]
    hue_at = (sequence == HUE).argmax(axis=1)  # [N] in 0..3
    places = [np.full_like(hue_at, k) for k in range(3)] + [hue_at + 1 + k for k in range(3)]
    exists = [k < hue_at for k in range(3)] + [place < 4 for place in places[3:]]
    for slot, place, used in zip(
        (*SLOTS_BEFORE_HUE, *SLOTS_AFTER_HUE), places, exists, strict=False
    ):
        op = np.take_along_axis(sequence, np.minimum(place, 3)[:, None], axis=1)
        factor = np.take_along_axis(factors, op, axis=1)[:, 0]
        yield f"{slot}_op", np.where(used & (factor != 1), op[:, 0], np.int32(NO_OP))
        yield f"{slot}_factor", factor
    yield "gray_op", np.where(gray, np.int32(SATURATION), np.int32(NO_OP))
    yield "gray_factor", np.zeros(len(gray), np.float32)
