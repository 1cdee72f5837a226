"""Grad-CAM (Selvaraju 2017) through pytorch-grad-cam, on a head over its feature map.

pytorch-grad-cam scales each image's map to [0, 1] by itself, which would make the hottest pixel of
every patch, tumour or fat, equally hot. Here maps stay on one scale for the whole slide.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

_TOP_PERCENTILE = 99.9


class _UnscaledGradCAM(GradCAM):  # type: ignore[misc]
    """Grad-CAM at the feature map's own size and scale."""

    def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):  # type: ignore[no-untyped-def]
        (activations,) = self.activations_and_grads.activations
        (gradients,) = (g.numpy() for g in self.activations_and_grads.gradients)
        weights = self.get_cam_weights(
            input_tensor, self.target_layers[0], targets, activations, gradients
        )
        # get_cam_image would make and add up an array as large as all activations, each class.
        cam = torch.einsum("nd,ndhw->nhw", torch.from_numpy(weights).to(activations), activations)
        return [cam.clamp_min(0).numpy()]

    def aggregate_multi_layers(self, cam_per_target_layer):  # type: ignore[no-untyped-def]
        return cam_per_target_layer[0]


def grad_cam(head: nn.Module, layer: nn.Module, features: torch.Tensor) -> NDArray[np.float32]:
    """Grad-CAM of every class at the feature map.

    Args:
        head: feature map to logits.
        layer: the identity in ``head`` that the feature map passes first, to hook on.
        features: (N, D, h, w), any float type.

    Parameters, their gradients and the mode of ``head`` stay as they are, and it may be called
    under ``torch.no_grad`` or ``torch.inference_mode``.

    Returns:
        (N, classes, h, w) float32, at least 0, on one scale for all N.
    """
    # pytorch-grad-cam zeroes the model's gradients: those that a training accumulates are put back.
    frozen = [(p, p.requires_grad, p.grad) for p in head.parameters()]
    training = head.training
    try:
        for parameter, _, _ in frozen:
            parameter.requires_grad_(False)
            parameter.grad = None
        maps = []
        with (
            torch.inference_mode(mode=False),
            torch.enable_grad(),
            _UnscaledGradCAM(head, [layer]) as cam,
        ):
            # A copy: a tensor made in inference mode may not take part in a backward pass.
            features = features.detach().clone().float()
            with torch.no_grad():
                classes = head(features[:1]).shape[1]
            for index in range(classes):
                # A leaf of its own for each class: the identity hands on the very tensor it is
                # given, and the hook that pytorch-grad-cam puts on it would stay.
                leaf = features.detach().requires_grad_(True)
                maps.append(cam(leaf, [ClassifierOutputTarget(index)] * len(leaf)))
    finally:
        head.train(training)
        for parameter, flag, gradient in frozen:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
    return np.stack(maps, axis=1).astype(np.float32)


def scale_over_slide(cam_chw: NDArray[np.float32]) -> NDArray[np.float32]:
    """One slide's Grad-CAM maps in [0, 1], all classes on one scale; NaN stays NaN.

    The top thousandth is clipped, so that a single hot cell does not darken the slide.
    """
    values = cam_chw[np.isfinite(cam_chw)]
    top = float(np.percentile(values, _TOP_PERCENTILE)) if values.size else 0.0
    return np.clip(cam_chw / top, 0, 1) if top > 0 else np.zeros_like(cam_chw) * cam_chw
