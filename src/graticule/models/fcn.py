"""torchvision's fully convolutional net on a dilated ResNet-101."""

from torch import Tensor, nn
from torchvision.models import ResNet101_Weights
from torchvision.models.segmentation import FCN_ResNet101_Weights, fcn_resnet101

from graticule.models.layers import Image, Logits, on_padded
from graticule.models.pretrained import from_hub, load_encoder, to_bands


class FCNResNet101(nn.Module):
    """FCN (Long et al. 2015, arXiv:1411.4038) on a ResNet-101 of stride 8, for any number of bands.

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        encoder_weights: None; "imagenet" (torchvision's backbone); "coco" (the whole net, but for its last layer); the
            folder of a resnet101 that a pretraining exported; or the path of a .safetensors or .pth file with the
            tensors of a resnet101 or of an fcn_resnet101, whose backbone is taken.

    Raises:
        CheckpointError: if the weights cannot be had or do not fit.
    """

    def __init__(self, in_channels: int, out_channels: int, encoder_weights: str | None = None) -> None:
        super().__init__()
        whole = FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1 if encoder_weights == "coco" else None
        backbone = ResNet101_Weights.IMAGENET1K_V1 if encoder_weights == "imagenet" else None
        self.net = from_hub(
            lambda: fcn_resnet101(
                weights=whole,
                weights_backbone=backbone,
                num_classes=None if whole else out_channels,
                aux_loss=None if whole else False,
            ),
            f"'{encoder_weights}' of fcn_resnet101",
        )
        self.net.aux_classifier = None
        first = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if whole or backbone:
            first.weight = nn.Parameter(to_bands(self.net.backbone.conv1.weight.detach(), first.weight.shape))
        self.net.backbone.conv1 = first
        if whole:
            self.net.classifier[-1] = nn.Conv2d(512, out_channels, kernel_size=1)
        if encoder_weights not in (None, "imagenet", "coco"):
            load_encoder(self.net.backbone, ("",), "resnet101", encoder_weights, in_channels)

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1."""
        return on_padded(self._walk, x, multiple=8, least=16)

    def _walk(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)["out"]
        return logits
