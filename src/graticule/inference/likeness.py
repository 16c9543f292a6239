"""How like photographs painted pictures are as a set: FID and KID, by torchmetrics."""

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from graticule.errors import ConfigError

Pair = tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]
_SUBSET = 50


def likeness(pairs: Iterable[Pair], features: str | nn.Module) -> dict[str, float]:
    """Frechet (Heusel et al. 2017) and kernel (Binkowski et al. 2018) distance of the features of two sets of pictures.

    FID of few pictures is far too high and its covariance has no full rank: compare only sets of one size. KID has no
    such bias.

    Args:
        pairs: batches of photographs and of painted pictures, 0 to 1.
        features: the file of the weights of torch-fidelity's Inception, or a net: pictures -> [b, d].

    Raises:
        ConfigError: if torch-fidelity or the file is missing, or there are fewer than two pictures.
    """
    batches = list(pairs)
    count = sum(len(real) for real, _ in batches)
    if count < 2:
        raise ConfigError(f"FID and KID compare sets of pictures, and there are {count}; validate on at least 2.")
    if isinstance(features, str) and not Path(features).is_file():
        raise ConfigError(f"there is no file {features} of the weights of Inception; set painting.inception_weights.")
    chosen = {"feature": 2048, "feature_extractor_weights_path": features} if isinstance(features, str) else {
        "feature": features
    }  # fmt: skip
    try:
        fid = FrechetInceptionDistance(normalize=True, **chosen)
        kid = KernelInceptionDistance(normalize=True, subset_size=min(_SUBSET, count), **chosen)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "FID and KID need the package torch-fidelity, which is not installed; install it, or set "
            "painting.inception_weights=null."
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the subsets that KID draws
        for real, made in batches:
            for metric in (fid, kid):
                metric.to(real.device)
                metric.update(real, real=True)
                metric.update(made, real=False)
        return {"fid": float(fid.compute()), "kid": float(kid.compute()[0])}
