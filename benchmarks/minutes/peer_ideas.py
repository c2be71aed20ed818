"""What is tried with lightly, as many trials as ours had: its methods, and what may do them good.

Both environments import this file, so it needs neither torch nor anything of ours. What a trial
does not say is lightly's row of benchmarks/parity/shared_settings.py. The encoders are those that
our own trials chose from; the rates are around that of lightly's CIFAR-10 benchmark.
"""

from dataclasses import dataclass, replace

from benchmarks.parity.shared_settings import PAIRS, Pair, View


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdea:
    """A method, the encoder, and numbers in place of its row's."""

    method: str = "simclr"
    width: float = 0.375
    stem: str = "half"
    batch: int = 128
    rate: float = 0.12  # peak, for 256 images; AdamW's as it is
    optimizer: str = "sgd"
    temperature: float | None = None
    view: View | None = None  # of both views

    @property
    def pair(self) -> Pair:
        """The row with the trial's numbers."""
        lr = self.rate if self.optimizer == "adamw" else self.rate * self.batch / 256
        pair = replace(PAIRS[self.method], lr=lr)
        if self.temperature is not None:
            pair = replace(pair, temperature=self.temperature)
        return pair if self.view is None else replace(pair, views=(self.view, self.view))


_MILD = View(scale=(0.3, 1.0))  # the views of fast_cifar10
PEER_IDEAS: dict[str, PeerIdea] = {
    "simclr": PeerIdea(width=0.25, stem="small"),  # the encoder of the parity runs
    "simclr-half-0.375": PeerIdea(),
    "rate-x3": PeerIdea(rate=0.36),
    "batch-64": PeerIdea(batch=64),
    "temperature-0.2": PeerIdea(temperature=0.2),
    "mild-views": PeerIdea(view=_MILD),
    "adamw": PeerIdea(optimizer="adamw", rate=0.001),
    "nnclr": PeerIdea(method="nnclr"),
    "swav-2+6": PeerIdea(method="swav"),
    "vicreg": PeerIdea(method="vicreg", rate=0.03),
    # What gained, together: the one that is trained as long as ours.
    "chosen": PeerIdea(batch=64, temperature=0.2),
}
