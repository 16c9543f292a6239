"""Methods that make features agree between views and differ from each other."""

from collections.abc import Sequence

from lightly.loss import BarlowTwinsLoss, VICRegLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead, VICRegProjectionHead
from torch import nn

from graticule.tasks.pretraining.method import Clock, Found, Method, View


class BarlowTwins(Method):
    """Zbontar et al., 2021, arXiv:2103.03230.

    Args:
        net: the backbone.
        hidden: width of the head.
        output: width of what the loss sees.
        redundancy: weight of the correlations between different features.
    """

    def __init__(self, net: nn.Module, *, hidden: int = 512, output: int = 512, redundancy: float = 5e-3) -> None:
        super().__init__()
        self.head = BarlowTwinsProjectionHead(net.width, hidden, output)
        self.criterion = BarlowTwinsLoss(redundancy, gather_distributed=True)

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """How far the correlation of the two views' features is from the identity."""
        one, other = (self.head(net(view)) for view in views)
        return {"barlow_twins": self.criterion(one, other)}, {}


class VICReg(Method):
    """Bardes et al., 2022, arXiv:2105.04906.

    Args:
        net: the backbone.
        hidden: width of the head.
        output: width of what the loss sees.
        invariance: weight of the distance between views.
        variance: weight of features that vary too little.
        covariance: weight of features that vary together.
    """

    def __init__(
        self, net: nn.Module, *, hidden: int = 512, output: int = 512, invariance: float = 25.0, variance: float = 25.0,
        covariance: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.head = VICRegProjectionHead(net.width, hidden, output)
        self.criterion = VICRegLoss(invariance, variance, covariance, gather_distributed=True)

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """The weighted sum of the three terms."""
        one, other = (self.head(net(view)) for view in views)
        return {"vicreg": self.criterion(one, other)}, {}
