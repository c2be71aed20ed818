"""VICReg: views agree, while a hinge on variance and decorrelation keep the features from collapse.

Bardes, Ponce and LeCun 2022, 2105.04906; github.com/facebookresearch/vicreg, main_vicreg.py. The
terms are the code's, of the global batch; `paper_variance` counts the variance as the paper's
equation does. With `correlation` and `whiten_groups` it is VIbCReg (Lee and Aune 2021, 2109.00783;
github.com/ML4ITS/vibcreg): correlations in place of covariances, and whitened features, the global
batch's. Views beyond two are our generalisation (losses/vicreg.py). Batch statistics are per
view, as in separate forwards.
"""

from dataclasses import dataclass

from torch import nn

from augengine.views import Views
from trainer.checks import require
from trainer.distributed import gather_views
from trainer.losses.correlation import correlation
from trainer.losses.vicreg import invariance, variance, vicreg_terms
from trainer.methods.protocol import Method, Progress, StepResult
from trainer.nets.backbones import feature_dim
from trainer.nets.heads import mlp
from trainer.nets.iter_norm import IterNorm
from trainer.nets.multicrop import project_groups
from trainer.settings.bounds import Count, Natural, NotNegative, check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The paper's values; unequal weights of invariance and variance collapse or are unstable."""

    hidden_dim: Count = 8192  # of the expander
    out_dim: Count = 8192
    invariance: NotNegative = 25.0  # weights of the three terms
    variance: NotNegative = 25.0
    covariance: NotNegative = 1.0
    paper_variance: bool = False  # sum two views' variance terms; the code halves that sum
    correlation: bool = (
        False  # the third term is of correlations, by out_dim^2; then its weight is 200
    )
    whiten_groups: Natural = 0  # of features, whitened after the expander; 0: none

    def __post_init__(self) -> None:
        check_bounds("vicreg", self)
        rule = f"vicreg whiten_groups divides out_dim, {self.out_dim}"
        whole = self.whiten_groups == 0 or self.out_dim % self.whiten_groups == 0
        require(whole, rule, self.whiten_groups, "try 0 (none), or another out_dim")


class VICReg(Method):
    """Backbone and expander."""

    batch_loss = "variances and covariances"

    def __init__(self, backbone: nn.Module, settings: Settings) -> None:
        super().__init__()
        hidden, out = settings.hidden_dim, settings.out_dim
        dims = (feature_dim(backbone), hidden, hidden, out)
        self.settings = settings
        self.backbone = backbone
        self.expander = mlp(dims, hidden_bias=True, out_bias=False)
        groups = settings.whiten_groups
        self.whitening = IterNorm(out, groups) if groups else nn.Identity()

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Three terms on the expanded features of all views, none of them normalised."""
        z = project_groups(self.backbone, self.expander, views.crops, per_view=True)
        num_global, settings = len(views.crops[0]), self.settings
        everyone = self.whitening(gather_views(z))
        if settings.correlation:
            agree, spread = invariance(everyone, num_global), variance(everyone)
            repeat = correlation(everyone)
        else:
            agree, spread, repeat = vicreg_terms(everyone, num_global)
        spread = spread * (2 if settings.paper_variance else 1)
        loss = (
            settings.invariance * agree + settings.variance * spread + settings.covariance * repeat
        )
        terms = {"invariance": agree, "variance": spread, "covariance": repeat}
        metrics = {name: term.detach() for name, term in terms.items()}
        return StepResult(loss, z[:num_global].detach().flatten(0, 1), metrics)

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """Only the variance is too small, 0.01 in place of 1 (losses/vicreg.py)."""
        settings = self.settings
        return 0.99 * settings.variance * (2 if settings.paper_variance else 1)
