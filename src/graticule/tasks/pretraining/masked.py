"""Masked autoencoding: most patches are hidden and are to be painted from the rest."""

from collections.abc import Sequence
from typing import Any

from lightly.models import utils
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from graticule.errors import ConfigError
from graticule.tasks.pretraining.method import Clock, Found, Method, View


class MAE(Method):
    """He et al., 2021, arXiv:2111.06377; for vision transformers of timm.

    Args:
        net: the backbone, a vision transformer whose `img_size` is the size of the views.
        mask: share of the patches that are hidden.
        decoder: width of the decoder.
        depth: its blocks.
        heads: its heads.
        standardised: learn each patch less its mean and by its deviation.
    """

    views = (1, None)

    def __init__(
        self, net: nn.Module, *, mask: float = 0.75, decoder: int = 128, depth: int = 2, heads: int = 4,
        standardised: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        vit: Any = net.encoder
        if not isinstance(vit, VisionTransformer):
            raise ConfigError(
                f"mae hides patches from a vision transformer, and the backbone is a {type(vit).__name__}; "
                "set model.encoder to one such as vit_tiny_patch16_224, or another pretraining.method."
            )
        if not 0 < mask < 1:
            raise ConfigError(f"pretraining.options.mask is {mask}; it must be between 0 and 1.")
        grid = vit.patch_embed
        self.mask, self.standardised, self.patch = mask, standardised, grid.patch_size[0]
        self.tokens = grid.num_patches + vit.num_prefix_tokens
        told = {"weight_initialization": "skip", "pos_embed_initialization": "skip"} if net.begun else {}
        # In a list, so that it is no part of this module: its weights are the net's, which the task holds.
        self._masked = [MaskedVisionTransformerTIMM(vit, **told)]
        self._masked[0].mask_token.requires_grad_(False)
        self.embed = nn.Linear(vit.embed_dim, decoder)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            grid.num_patches, decoder, depth, heads, num_prefix_tokens=vit.num_prefix_tokens
        )
        self.predict = nn.Linear(decoder, self.patch**2 * grid.proj.in_channels)

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """The mean squared error of the hidden patches."""
        return {"mae": sum((self._loss(view) for view in views), start=views[0].new_zeros(())) / len(views)}, {}

    def _loss(self, view: View) -> Tensor:
        count = len(view)
        keep, hidden = utils.random_token_mask((count, self.tokens), mask_ratio=self.mask, device=view.device)
        known = self.embed(self._masked[0].encode(view, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, (count, self.tokens))
        painted = self.decoder(utils.set_at_index(tokens, keep, known.type_as(tokens)))
        predicted = self.predict(utils.get_at_index(painted, hidden))
        prefix = self.tokens - self.decoder.num_patches
        truth = utils.get_at_index(utils.patchify(view, self.patch), hidden - prefix)
        if self.standardised:
            truth = (truth - truth.mean(-1, keepdim=True)) / (truth.var(-1, keepdim=True) + 1e-6).sqrt()
        return mse_loss(predicted, truth)
