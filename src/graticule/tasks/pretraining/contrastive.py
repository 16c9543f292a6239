"""Contrastive methods: a view is to be told from those of all other samples of the batch."""

import copy
from collections.abc import Sequence

from lightly.loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead, SimCLRProjectionHead
from torch import nn

from graticule.tasks.pretraining.method import Clock, Found, Method, Teacher, View


class SimCLR(Method):
    """Chen et al., 2020, arXiv:2002.05709.

    Args:
        net: the backbone.
        hidden: width of the head.
        output: width of what the loss sees.
        temperature: of the softmax over samples.
    """

    def __init__(self, net: nn.Module, *, hidden: int = 512, output: int = 128, temperature: float = 0.2) -> None:
        super().__init__()
        self.head = SimCLRProjectionHead(net.width, hidden, output)
        self.criterion = NTXentLoss(temperature, gather_distributed=True)

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """NT-Xent between the two views, over the samples of all processes."""
        one, other = (self.head(net(view)) for view in views)
        return {"simclr": self.criterion(one, other)}, {}


class MoCo(Method):
    """MoCo v3: Chen et al., 2021, arXiv:2104.02057; with lightly's NT-Xent, whose negatives are keys and queries.

    Args:
        net: the backbone.
        hidden: width of the heads.
        output: width of what the loss sees.
        temperature: of the softmax over samples.
        momentum: of the teacher at the first step; it grows to 1.
    """

    def __init__(
        self, net: nn.Module, *, hidden: int = 512, output: int = 128, temperature: float = 0.2, momentum: float = 0.99
    ) -> None:
        super().__init__()
        self.head = MoCoProjectionHead(net.width, hidden, output, batch_norm=True)
        self.predictor = MoCoProjectionHead(output, hidden, output, batch_norm=True)
        self.teacher = Teacher(net, copy.deepcopy(self.head), momentum)
        self.criterion = NTXentLoss(temperature, gather_distributed=True)

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """The queries of each view against the teacher's keys of the other."""
        queries = [self.predictor(self.head(net(view))) for view in views]
        keys = [self.teacher(view) for view in views]
        loss = (self.criterion(queries[0], keys[1]) + self.criterion(queries[1], keys[0])) / 2
        return {"moco": loss}, {}

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """The teacher follows."""
        self.teacher.follow(net, self.head, clock)

    def followers(self) -> list[str]:
        """The teacher."""
        return ["teacher"]
