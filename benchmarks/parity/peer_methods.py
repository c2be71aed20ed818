"""Each method as lightly's examples build it: its heads, its losses, its slow networks.

Runs in the peers' environment. Children bear the names that they have in `trainer/methods`, so that
loss_agreement.py can hand weights over. Every view passes the networks alone, as in the examples.
"""

import torch
from lightly import loss as losses
from lightly.models.modules import NNMemoryBankModule, heads
from torch import nn
from torch.nn import functional as F

from benchmarks.parity.peer_method import Crops, PeerMethod, Place, given
from benchmarks.parity.shared_settings import Pair
from trainer.nets.resnet import ResNet


class SimCLR(PeerMethod):
    """NT-Xent between two views."""

    def build(self, pair: Pair) -> None:
        """Projector and NT-Xent."""
        self.projector = heads.SimCLRProjectionHead(self.features, pair.hidden_dim, pair.out_dim)
        self.criterion = losses.NTXentLoss(temperature=given(pair.temperature))

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Of both views' projections."""
        return self.criterion(*(self.projector(self.backbone(x)) for x in crops))


class BYOL(PeerMethod):
    """Predictions of one view are near to slow projections of the other."""

    slow = ("backbone", "projector")

    def build(self, pair: Pair) -> None:
        """Projector, predictor and cosine."""
        hidden, out = pair.hidden_dim, pair.out_dim
        self.projector = heads.BYOLProjectionHead(self.features, hidden, out)
        self.predictor = heads.BYOLPredictionHead(out, given(pair.predictor_dim), out)
        self.criterion = losses.NegativeCosineSimilarity()

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Half the sum of both directions."""
        p0, p1 = (self.predictor(self.projector(self.backbone(x))) for x in crops)
        with torch.no_grad():
            z0, z1 = (self.target_projector(self.target_backbone(x)) for x in crops)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class SimSiam(PeerMethod):
    """As BYOL, with the network itself behind a stop-gradient for the slow one."""

    constant_lr = ("predictor",)

    def build(self, pair: Pair) -> None:
        """Projector, predictor and cosine."""
        hidden, out = pair.hidden_dim, pair.out_dim
        self.projector = heads.SimSiamProjectionHead(self.features, hidden, out)
        self.predictor = heads.SimSiamPredictionHead(out, given(pair.predictor_dim), out)
        self.criterion = losses.NegativeCosineSimilarity()

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Half the sum of both directions."""
        z0, z1 = (self.projector(self.backbone(x)) for x in crops)
        p0, p1 = self.predictor(z0), self.predictor(z1)
        return 0.5 * (self.criterion(p0, z1.detach()) + self.criterion(p1, z0.detach()))


class SwAV(PeerMethod):
    """Views predict each other's balanced codes."""

    def build(self, pair: Pair) -> None:
        """Projector, prototypes and swapped codes."""
        self.projector = heads.SwaVProjectionHead(self.features, pair.hidden_dim, pair.out_dim)
        self.prototypes = heads.SwaVPrototypes(pair.out_dim, given(pair.num_prototypes))
        self.criterion = losses.SwaVLoss(temperature=given(pair.temperature))

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Of unit prototypes and the scores of all views."""
        self.prototypes.normalize()
        units = [F.normalize(self.projector(self.backbone(x)), dim=1) for x in crops]
        scores = [self.prototypes(z) for z in units]
        return self.criterion(scores[:2], scores[2:]).squeeze()

    def before_optimizer(self, place: Place) -> None:
        """Keep the prototypes where they are for the first epochs."""
        if place.epoch < given(self.pair.freeze_epochs):
            for parameter in self.prototypes.parameters():
                parameter.grad = None


class MoCo(PeerMethod):
    """A query finds its slow key among a queue of past ones."""

    slow = ("backbone", "projector")

    def build(self, pair: Pair) -> None:
        """Projector, and NT-Xent with a queue."""
        self.projector = heads.MoCoProjectionHead(self.features, pair.hidden_dim, pair.out_dim)
        bank = (given(pair.queue_length), pair.out_dim)
        temperature = given(pair.temperature)
        self.criterion = losses.NTXentLoss(temperature=temperature, memory_bank_size=bank)

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """The first view asks, the second one answers."""
        query = self.projector(self.backbone(crops[0]))
        with torch.no_grad():
            key = self.target_projector(self.target_backbone(crops[1]))
        return self.criterion(query, key)


class Barlow(PeerMethod):
    """Two views' features correlate with themselves alone."""

    def build(self, pair: Pair) -> None:
        """Projector and correlations."""
        hidden, out = pair.hidden_dim, pair.out_dim
        self.projector = heads.BarlowTwinsProjectionHead(self.features, hidden, out)
        self.criterion = losses.BarlowTwinsLoss(lambda_param=dict(pair.weights)["off_diagonal"])

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Of both views' projections."""
        return self.criterion(*(self.projector(self.backbone(x)) for x in crops))


class VICReg(PeerMethod):
    """Invariance, variance, covariance."""

    def build(self, pair: Pair) -> None:
        """Expander and the three terms."""
        weights = dict(pair.weights)
        self.expander = heads.VICRegProjectionHead(self.features, pair.hidden_dim, pair.out_dim)
        self.criterion = losses.VICRegLoss(
            lambda_param=weights["invariance"],
            mu_param=weights["variance"],
            nu_param=weights["covariance"],
        )

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Of both views' expansions."""
        return self.criterion(*(self.expander(self.backbone(x)) for x in crops))


class DINO(PeerMethod):
    """A student matches its slow teacher's sharpened scores."""

    slow = ("backbone", "head")

    def build(self, pair: Pair) -> None:
        """Student's and teacher's head, and their cross-entropy."""
        num, freeze = given(pair.num_prototypes), int(given(pair.freeze_epochs))
        sizes = (self.features, pair.hidden_dim, pair.out_dim, num)
        self.head = heads.DINOProjectionHead(*sizes, batch_norm=True, freeze_last_layer=freeze)
        # Weight norm cannot be copied. Their example lets it start elsewhere; the paper does not.
        self.target_head = heads.DINOProjectionHead(*sizes, batch_norm=True)
        self.target_head.load_state_dict(self.head.state_dict())
        teacher = given(pair.teacher_temperature)
        self.criterion = losses.DINOLoss(
            num, teacher, teacher, 0, student_temp=given(pair.temperature)
        )

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Of the student's scores of all views."""
        with torch.no_grad():
            teacher = [self.target_head(self.target_backbone(x)) for x in crops]
        student = [self.head(self.backbone(x)) for x in crops]
        return self.criterion(teacher, student, epoch=place.epoch)

    def before_optimizer(self, place: Place) -> None:
        """Keep the prototypes where they are for the first epochs."""
        self.head.cancel_last_layer_gradients(place.epoch)

    @property
    def encoder(self) -> nn.Module:
        """The teacher's."""
        return self.get_submodule("target_backbone")


class NNCLR(PeerMethod):
    """Nearest neighbours of past batches stand for a view."""

    def build(self, pair: Pair) -> None:
        """Projector, predictor, neighbours and NT-Xent."""
        hidden, out = pair.hidden_dim, pair.out_dim
        self.projector = heads.NNCLRProjectionHead(self.features, hidden, out)
        self.predictor = heads.NNCLRPredictionHead(out, given(pair.predictor_dim), out)
        self.neighbours = NNMemoryBankModule(size=(given(pair.queue_length), out))
        self.criterion = losses.NTXentLoss(temperature=given(pair.temperature))

    def loss(self, crops: Crops, place: Place) -> torch.Tensor:
        """Half the sum of both directions."""
        z0, z1 = (self.projector(self.backbone(x)) for x in crops)
        p0, p1 = self.predictor(z0), self.predictor(z1)
        near0 = self.neighbours(z0.detach(), update=False)
        near1 = self.neighbours(z1.detach(), update=True)
        return 0.5 * (self.criterion(near0, p1) + self.criterion(near1, p0))


PEER_METHODS: dict[str, type[PeerMethod]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "simsiam": SimSiam,
    "swav": SwAV,
    "mocov2": MoCo,
    "barlow": Barlow,
    "vicreg": VICReg,
    "dino": DINO,
    "nnclr": NNCLR,
}


def create_peer(method: str, backbone: ResNet, pair: Pair) -> PeerMethod:
    """The method by its name in PAIRS, with the numbers of a row."""
    return PEER_METHODS[method](backbone, pair)
