"""Self-distillation with a centred, sharpened teacher."""

from collections.abc import Sequence

from lightly.loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead
from torch import nn

from graticule.tasks.pretraining.method import Clock, Found, Method, Teacher, View


class DINO(Method):
    """Caron et al., 2021, arXiv:2104.14294.

    Args:
        net: the backbone.
        hidden: width of the heads.
        bottleneck: width before the last layer.
        output: number of prototypes.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's, after the warm-up.
        warmup_temperature: of the teacher's at the first step.
        warmup_share: share of the steps over which it goes from one to the other.
        frozen_share: share of the steps in which the last layer does not learn.
        momentum: of the teacher at the first step; it grows to 1.
        center_momentum: of the mean that is taken off the teacher's outputs.
    """

    views = (2, None)
    local = True

    def __init__(
        self, net: nn.Module, *, hidden: int = 512, bottleneck: int = 128, output: int = 1024,
        student_temperature: float = 0.1, teacher_temperature: float = 0.07, warmup_temperature: float = 0.04,
        warmup_share: float = 0.3, frozen_share: float = 0.05, momentum: float = 0.99, center_momentum: float = 0.9,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = (net.width, hidden, bottleneck, output)
        self.head = DINOProjectionHead(*sizes, batch_norm=True)
        # Made anew and filled, since a layer with weight norm cannot be copied.
        teacher = DINOProjectionHead(*sizes, batch_norm=True)
        teacher.load_state_dict(self.head.state_dict())
        self.teacher = Teacher(net, teacher, momentum)
        self.criterion = DINOLoss(output, student_temp=student_temperature, center_momentum=center_momentum)
        self.temperatures = (warmup_temperature, teacher_temperature, warmup_share)
        self.frozen_share = frozen_share

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """Cross-entropy of the student's answers to all views against the teacher's to the large ones."""
        size = views[0].shape[-1]
        told = [self.teacher(view) for view in views if view.shape[-1] == size]
        answers = [self.head(net(view)) for view in views]
        temperature, center = clock.linear(*self.temperatures), self.criterion.center
        self.criterion.center = center.clone()  # the loss moves it
        loss = self.criterion(told, answers, teacher_temp=temperature)
        if not self.training:
            self.criterion.center = center
        shares = ((told[0] - center[0]) / temperature).softmax(1)
        entropy = -(shares * shares.clamp(min=1e-12).log()).sum(1).mean()
        return {"dino": loss}, {"teacher_entropy": entropy}

    def before_step(self, clock: Clock) -> None:
        """The last layer waits at first."""
        self.head.freeze_last_layer = round(self.frozen_share * clock.steps)
        self.head.cancel_last_layer_gradients(clock.step)

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """The teacher follows."""
        self.teacher.follow(net, self.head, clock)

    def followers(self) -> list[str]:
        """The teacher."""
        return ["teacher"]
