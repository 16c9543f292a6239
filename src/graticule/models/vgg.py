"""The features of VGG19, with which pictures are compared."""

from pathlib import Path

from torch import nn
from torchvision.models import VGG19_Weights, vgg19
from torchvision.models.vgg import cfgs, make_layers

from graticule.models.pretrained import from_hub, load_into, read_weights


def vgg19_features(weights: str | None = "imagenet") -> nn.Sequential:
    """The convolutions of torchvision's VGG19, for pictures normalised as for ImageNet.

    Args:
        weights: "imagenet" (torchvision's, from its cache or hub); the path of a file with a vgg19's tensors; or None
            for random ones, which know no things but still tell edges apart.

    Raises:
        CheckpointError: if the weights cannot be had or do not fit.
    """
    if weights == "imagenet":
        whole = from_hub(lambda: vgg19(weights=VGG19_Weights.IMAGENET1K_V1), "'imagenet' of VGG19")
        published: nn.Sequential = whole.features
        return published
    # Without the classifier, in which seven of eight numbers are.
    features: nn.Sequential = make_layers(cfgs["E"], batch_norm=False)
    if weights is not None:
        state = {name.removeprefix("features."): value for name, value in read_weights(Path(weights)).items()}
        load_into(features, state, weights)
    return features
