"""Super-resolution by one step of diffusion, as a deterministic network: image in, image out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks.errors import NetworkError

__all__ = ["OneStepDiffusion"]

_PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")


class OneStepDiffusion(nn.Module):
    """A VAE and a denoiser of diffusers that restore an image in one step, with noise, timestep and prompt fixed.

    The image is enlarged (bicubic), encoded to the mean of its latent, denoised by one call, and decoded::

        z = encode(enlarge(x)).mode * scaling_factor
        z_t = z  or  signal * z + noise * e,   e fixed by `seed`
        z_0 = (z_t - sqrt(1 - a) * denoiser(z_t, t)) / sqrt(a),   a = alphas_cumprod[t]   (prediction "epsilon")
        y = decode(z_0 / scaling_factor)

    Of the prediction "v_prediction", z_0 = sqrt(a) * z_t - sqrt(1 - a) * v; of "sample", z_0 is what the denoiser
    returns; of "flow_prediction", z_0 = z_t - timestep / 1000 * v. So a call draws no random numbers, and equal images
    give equal outputs. Not for models that take several steps: there, one step is another function than the model's.

    Args:
        vae: an AutoencoderKL or VQModel of diffusers.
        denoiser: a UNet2DConditionModel, a UNet2DModel, or a transformer of diffusers.
        scheduler: of diffusers, with `alphas_cumprod` and `config.prediction_type`; None where `prediction` is "sample"
            or "flow_prediction".
        timestep: the step, for the denoiser and the scheduler.
        prompt_embedding: (1, tokens, features), for a denoiser that takes one; it is the same for every image.
        scale: output pixels per input pixel, at least 1.
        noise: standard deviation of the fixed noise in the latent. 0 is none (OSEDiff, S3Diff); ResShift has
            kappa * sqrt(eta_T). "schedule" takes sqrt(a) of the latent and sqrt(1 - a) of the noise.
        seed: of the noise.
        conditioned: whether the latent of the enlarged image goes into the denoiser a second time, behind z_t, in the
            channels (ResShift, StableSR-like UNets).
        prediction: what the denoiser predicts; by default the scheduler's.
        arguments: further arguments of the denoiser, such as {"pooled_projections": tensor}.
        checkpointing: whether activations are computed again in a backward, which needs less memory.

    Shapes: (N,3,h,w) in [0, 1] to (N,3,scale*h,scale*w), not clipped.

    Raises:
        NetworkError: an argument that does not fit the denoiser or the scheduler.
    """

    prompt_embedding: torch.Tensor | None

    def __init__(
        self,
        vae: nn.Module,
        denoiser: nn.Module,
        scheduler: Any = None,
        *,
        timestep: int = 999,
        prompt_embedding: torch.Tensor | None = None,
        scale: int = 4,
        noise: float | str = 0.0,
        seed: int = 0,
        conditioned: bool = False,
        prediction: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.vae, self.denoiser = vae, denoiser
        self.register_buffer("prompt_embedding", prompt_embedding, persistent=False)
        self.timestep, self.scale, self.seed = int(timestep), int(scale), int(seed)
        self.conditioned, self.arguments = conditioned, dict(arguments or {})
        config = getattr(scheduler, "config", {})
        self.prediction = prediction or config.get("prediction_type", "sample")
        if self.prediction not in _PREDICTIONS:
            raise NetworkError(f"prediction is {self.prediction!r}; it is one of {', '.join(_PREDICTIONS)}")
        self.signal, self.spread = _of_schedule(scheduler, self.timestep)
        if scheduler is None and (noise == "schedule" or self.prediction in ("epsilon", "v_prediction")):
            raise NetworkError(f"noise={noise!r} with prediction={self.prediction!r} needs a scheduler")
        if isinstance(noise, str) and noise != "schedule":
            raise NetworkError(f"noise is {noise!r}; give a standard deviation or 'schedule'")
        self.latent_factor, self.noise = (self.signal, self.spread) if noise == "schedule" else (1.0, float(noise))
        self._takes = set(inspect.signature(denoiser.forward).parameters)
        if "encoder_hidden_states" in self._takes and prompt_embedding is None:
            raise NetworkError(f"{type(denoiser).__name__} takes a prompt: give prompt_embedding (1, tokens, features)")
        if checkpointing:
            for part in (vae, denoiser):
                part.enable_gradient_checkpointing()  # type: ignore[operator]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,3,h,w) in [0, 1] to (N,3,scale*h,scale*w)."""
        enlarged = (
            F.interpolate(x, scale_factor=self.scale, mode="bicubic", align_corners=False) if self.scale > 1 else x
        )
        latent = self._encoded(2 * enlarged - 1)
        noisy = self.latent_factor * latent + self.noise * self._noise_like(latent) if self.noise else latent
        into = torch.cat([noisy, latent], dim=1) if self.conditioned else noisy
        return (self._decoded(self._clean(noisy, self._predicted(into))) + 1) / 2

    def _encoded(self, image: torch.Tensor) -> torch.Tensor:
        encoded = self.vae.encode(image)  # type: ignore[operator]
        latent = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        shift, factor = self._scaling()
        normalised: torch.Tensor = (latent - shift) * factor
        return normalised

    def _decoded(self, latent: torch.Tensor) -> torch.Tensor:
        shift, factor = self._scaling()
        image: torch.Tensor = self.vae.decode(latent / factor + shift).sample  # type: ignore[operator]
        return image

    def _scaling(self) -> tuple[float, float]:
        config: Any = self.vae.config
        return getattr(config, "shift_factor", None) or 0.0, getattr(config, "scaling_factor", None) or 1.0

    def _noise_like(self, latent: torch.Tensor) -> torch.Tensor:
        """Noise that depends on the latent's size and the seed alone, equal for each image of a batch."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(1, *latent.shape[1:], generator=generator).to(latent)

    def _predicted(self, into: torch.Tensor) -> torch.Tensor:
        steps = torch.full((into.shape[0],), self.timestep, device=into.device, dtype=torch.long)
        arguments = {
            name: value.to(into).expand(into.shape[0], *value.shape[1:]) if isinstance(value, torch.Tensor) else value
            for name, value in {"encoder_hidden_states": self.prompt_embedding, **self.arguments}.items()
            if name in self._takes
        }
        first = "hidden_states" if "hidden_states" in self._takes else "sample"
        predicted: torch.Tensor = self.denoiser(**{first: into}, timestep=steps, **arguments, return_dict=False)[0]
        return predicted[:, : into.shape[1]]  # some transformers predict a variance behind it

    def _clean(self, noisy: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        if self.prediction == "epsilon":
            return (noisy - self.spread * predicted) / self.signal
        if self.prediction == "v_prediction":
            return self.signal * noisy - self.spread * predicted
        if self.prediction == "flow_prediction":
            return noisy - self.timestep / 1000 * predicted
        return predicted


def _of_schedule(scheduler: Any, timestep: int) -> tuple[float, float]:
    """sqrt(a) and sqrt(1 - a) at a timestep; (1, 0) without a scheduler."""
    if scheduler is None:
        return 1.0, 0.0
    products = getattr(scheduler, "alphas_cumprod", None)
    if products is None:
        raise NetworkError(
            f"{type(scheduler).__name__} has no alphas_cumprod: give no scheduler, and "
            "prediction='flow_prediction' or 'sample'"
        )
    if not 0 <= timestep < len(products):
        raise NetworkError(f"timestep is {timestep}; the scheduler has 0 to {len(products) - 1}")
    product = float(products[timestep])
    return product**0.5, (1 - product) ** 0.5
