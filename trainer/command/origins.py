"""The origins of what a config names: which of it is code of other people, and from what file.

A command asks before it does anything else: so what is missing or broken is said first, and what
is imported is said by its file.
"""

from collections.abc import Iterator, Sequence

from augengine.backends.create_backend import BACKENDS
from augengine.decoders.create_decoder import DECODERS
from shards.plugins.find import origin
from trainer.config import LOGGERS, TrainConfig
from trainer.methods.method_table import METHODS
from trainer.nets.backbones import BACKBONES
from trainer.optim.create_optimizer import OPTIMIZERS
from trainer.record.loggers import check_loggers
from trainer.terms.term_table import TERMS, term_names

TABLES = {
    "methods": METHODS,
    "terms": TERMS,
    "backbones": BACKBONES,
    "optimizers": OPTIMIZERS,
    "backends": BACKENDS,
    "decoders": DECODERS,
    "loggers": LOGGERS,
}
_ALSO = {"backbones": ("timm:NAME",), "backends": ("auto",), "decoders": ("auto",)}
OF_EXPORT = ("methods", "backbones")  # kinds that the command has a use for
OF_EVALUATION = (*OF_EXPORT, "backends", "decoders")


def origins(config: TrainConfig, kinds: Sequence[str] = tuple(TABLES)) -> tuple[str, ...]:
    """A sentence for each name of these kinds that is not ours, which is imported.

    Raises:
        UsageError: there is none, it cannot be imported, or may not be.
    """
    if "loggers" in kinds:
        check_loggers(config.run.loggers)
    found = [
        origin(kind, name, TABLES[kind], _ALSO.get(kind, ()))
        for kind in kinds
        for name in _names(config, kind)
    ]
    return tuple(filter(None, found))


def _names(config: TrainConfig, kind: str) -> Iterator[str]:
    """The names in the config of one kind, without open ones and timm's."""
    yield from {
        "methods": (config.method.name,),
        "terms": term_names(config.method.terms),
        "backbones": () if config.backbone.arch.startswith("timm:") else (config.backbone.arch,),
        "optimizers": (config.optim.name,),
        "backends": () if config.data.backend == "auto" else (config.data.backend,),
        "decoders": () if config.data.decoder == "auto" else (config.data.decoder,),
        "loggers": config.run.loggers,
    }[kind]
