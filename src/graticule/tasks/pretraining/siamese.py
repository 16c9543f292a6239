"""Methods without negatives: the features of one view predict those of the other."""

import copy
from collections.abc import Sequence

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    SimSiamPredictionHead,
    SimSiamProjectionHead,
)
from torch import nn

from graticule.tasks.pretraining.method import Clock, Found, Method, Teacher, View


class BYOL(Method):
    """Grill et al., 2020, arXiv:2006.07733.

    Args:
        net: the backbone.
        hidden: width of the heads.
        output: width of what is predicted.
        momentum: of the teacher at the first step; it grows to 1.
    """

    def __init__(self, net: nn.Module, *, hidden: int = 512, output: int = 128, momentum: float = 0.99) -> None:
        super().__init__()
        self.head = BYOLProjectionHead(net.width, hidden, output)
        self.predictor = BYOLPredictionHead(output, hidden, output)
        self.teacher = Teacher(net, copy.deepcopy(self.head), momentum)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """Each view predicts what the teacher makes of the other: -1 at best."""
        predicted = [self.predictor(self.head(net(view))) for view in views]
        targets = [self.teacher(view) for view in views]
        loss = (self.criterion(predicted[0], targets[1]) + self.criterion(predicted[1], targets[0])) / 2
        return {"byol": loss}, {}

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """The teacher follows."""
        self.teacher.follow(net, self.head, clock)

    def followers(self) -> list[str]:
        """The teacher."""
        return ["teacher"]


class SimSiam(Method):
    """Chen and He, 2021, arXiv:2011.10566.

    Args:
        net: the backbone.
        hidden: width of the projection.
        output: width of what is predicted.
        bottleneck: width inside the prediction.
    """

    def __init__(self, net: nn.Module, *, hidden: int = 512, output: int = 512, bottleneck: int = 128) -> None:
        super().__init__()
        self.head = SimSiamProjectionHead(net.width, hidden, output)
        self.predictor = SimSiamPredictionHead(output, bottleneck, output)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """Each view predicts the other, which gets no gradient from it: -1 at best."""
        projected = [self.head(net(view)) for view in views]
        predicted = [self.predictor(features) for features in projected]
        loss = sum(self.criterion(predicted[i], projected[1 - i].detach()) for i in (0, 1)) / 2
        return {"simsiam": loss}, {}
