"""An encoder as an ONNX graph: normalised views of its size in, features out, any batch.

torch's exporter traces it; what comes out is held to ONNX's own checker. The extra `onnx` brings
what this needs.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from shards.errors import DataError, UsageError
from trainer.encoders.encoder import Encoder

OPSET = 18
_NEEDS = ("onnx", "onnxscript")


def onnx_bytes(encoder: Encoder) -> bytes:
    """The whole graph with its weights; inputs are called `images`, outputs `features`.

    Raises:
        UsageError: onnx is not installed, or the graph is over the 2 GiB of one file.
        DataError: torch cannot export this network.
    """
    require_onnx()
    import onnx

    size_px = encoder.preprocessing.size_px
    example = torch.zeros(2, 3, size_px, size_px)
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")  # of torch's exporter, about its own code
            program = torch.onnx.export(
                encoder.module,
                (example,),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1 << 20)},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:  # of whatever a network does that ONNX has no word for
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"an ONNX graph is traced by torch, got {type(error).__name__}: {reason}; try another "
            "--format"
        ) from error
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise DataError(
            f"an ONNX graph takes batches of any size, got one that is traced as fixed in "
            f"{encoder.name}; try another --format"
        )
    texts = {**encoder.metadata, "preprocessing": str(encoder.preprocessing)}
    for key, text in texts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    try:
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()
    except ValueError as error:  # protobuf's bound of a message
        raise UsageError(
            f"an ONNX file holds at most 2 GiB, got {encoder.name} ({error}); try another --format"
        ) from error


def require_onnx() -> None:
    """UsageError unless what exports is installed."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--format onnx needs {' and '.join(_NEEDS)}, got no {' and no '.join(missing)}; pip "
            f"install {' '.join(missing)} (or the extra: 'augengine[onnx]')"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its steps and warns of operators of libraries that are not there."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
