"""From what a user names to an encoder: a run, an exported one, timm:NAME or module:attribute.

Kinds are told apart by what lies there. `trainer.load_encoder`, `trainer.evaluate`, `trainer.embed`
and `trainer.export` all come here.
"""

import shlex
from pathlib import Path

import trainer.checkpoint as checkpoint
from shards.errors import UsageError
from trainer.config import TrainConfig
from trainer.encoders.encoder import Encoder, Preprocessing
from trainer.encoders.encoder_file import describe, trained_encoder
from trainer.encoders.encoder_reader import read_encoder
from trainer.encoders.foreign_encoder import module_encoder, timm_encoder
from trainer.nets.backbones import feature_dim
from trainer.record.rundir import CONFIG_NAME, read_config

SUFFIX = ".safetensors"
HUB_WEIGHTS = "model.safetensors"  # of the folder that `--format hub` writes


def load_encoder(source: str | Path, which: str = "last") -> Encoder:
    """The encoder that `source` names, in eval mode on the CPU, with its preprocessing.

    Args:
        source: the folder of a run; a .safetensors file or a folder of `trainer.export`; timm:NAME,
            with timm's pretrained weights; or module:attribute, a module or what makes one.
        which: of a run's checkpoints: last, best, a step or a file.

    Raises:
        UsageError: there is no such thing, or what it needs is not installed.
        DataError: it is there and damaged.
    """
    path, text = Path(source), str(source)
    check_source(source)
    if is_run(source):
        return run_encoder(path, read_config(path), which)
    if which != "last":
        raise UsageError(
            f"--checkpoint chooses among those of a run, got {which} for {source}; leave it "
            "out, or name the folder of a run"
        )
    if path.exists():
        return read_encoder(path / HUB_WEIGHTS if path.is_dir() else path)
    return timm_encoder(text) if text.startswith("timm:") else module_encoder(text)


def check_source(source: str | Path) -> None:
    """UsageError where no encoder can be; opens and imports nothing."""
    path = Path(source)
    is_file = path.is_file() and path.suffix.lower() == SUFFIX
    is_name = not path.exists() and ":" in str(source)
    if is_run(source) or is_file or is_name or (path / HUB_WEIGHTS).is_file():
        return
    if path.parent.name == checkpoint.FOLDER_NAME and is_run(run := path.parent.parent):
        raise UsageError(
            f"an encoder of a run is named by the run's folder, got its checkpoint {source}; type "
            f"{shlex.quote(str(run))} --checkpoint {shlex.quote(str(source))}"
        )
    found = "another file" if path.is_file() else "another folder"
    raise UsageError(
        f"a run is a folder with {CONFIG_NAME}, got {source}, "
        f"{found if path.exists() else 'which is not there'}; name one, a {SUFFIX} file or a "
        "folder of trainer.export, timm:NAME or module:attribute"
    )


def is_run(source: str | Path) -> bool:
    """Whether this is the folder of a run."""
    return (Path(source) / CONFIG_NAME).is_file()


def run_encoder(run: Path, config: TrainConfig, which: str = "last") -> Encoder:
    """The encoder of one checkpoint of a run."""
    state = checkpoint.load(checkpoint.find(run, which))
    policy = config.policy.load()
    module = trained_encoder(config, state)
    return Encoder(
        name=f"{run}, step {state['step']}",
        module=module,
        preprocessing=Preprocessing(
            size_px=config.eval.size_px or policy.groups[0].size_px,
            mean=policy.mean,
            std=policy.std,
            fraction=config.eval.fraction,
        ),
        feature_dim=feature_dim(module),
        metadata=describe(config, module, state["step"]),
    )
