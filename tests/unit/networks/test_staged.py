import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from tests.unit.streaming.networks import image, network, resnet
from wsi.errors import ConfigError
from wsi.networks import EmbeddingHead, stage_network
from wsi.streaming import TensorSource, make_mode


@pytest.mark.parametrize("norm", ["frozen", "batch", "none"])
@pytest.mark.parametrize("depth", [18, 50])
def test_staging_keeps_what_the_torchvision_network_computes(depth: int, norm: str) -> None:
    net = resnet(depth).eval()
    x = image(97, 130, 2)
    wanted = net(x)
    staged = stage_network(copy.deepcopy(net), classes=2, norm=norm)  # type: ignore[arg-type]
    found = make_mode("in_core").infer(staged, TensorSource(x)).logits_nc
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_receptive_field_is_derived_from_the_layers() -> None:
    receptive_field = stage_network(resnet50(), classes=2).receptive_field
    assert receptive_field.before + receptive_field.after + 1 == 427
    assert receptive_field.stride == 32


@pytest.mark.parametrize("size", [64, 65, 97, 130, 224])
def test_the_receptive_field_gives_the_embedding_size(size: int) -> None:
    net = network(18)
    embedding = net.embed(image(size, size + 3))
    assert embedding.shape[2:] == (
        net.receptive_field.out_size(size),
        net.receptive_field.out_size(size + 3),
    )


def test_a_pixel_outside_the_receptive_field_changes_nothing_and_one_on_its_edge_does() -> None:
    net = network(18, norm="none")
    for module in net.modules():  # all-positive weights: no change can hide behind a ReLU
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()
    x = image(1, 1024).expand(1, 3, 64, 1024).abs().contiguous()
    cell = 16
    first = cell * 32 - net.receptive_field.before
    last = cell * 32 + net.receptive_field.after
    wanted = net.embed(x)[..., cell]
    for column, changes in ((first - 1, False), (first, True), (last, True), (last + 1, False)):
        touched = x.clone()
        touched[..., column] += 1e6
        assert bool((net.embed(touched)[..., cell] != wanted).any()) is changes


def test_inference_leaves_the_train_flags_as_they_were() -> None:
    net = network(18, norm="batch").train()
    net.stages[0].eval()
    before = [module.training for module in net.modules()]
    statistics = net.get_buffer("stages.1.body.bn1.running_mean").clone()
    make_mode("in_core").infer(net, TensorSource(image(64, 64)))
    assert [module.training for module in net.modules()] == before
    assert torch.equal(net.get_buffer("stages.1.body.bn1.running_mean"), statistics)


def test_the_head_over_the_embedding_gives_the_logits_and_a_gradient() -> None:
    net = network(18, pooling="attention")
    result = make_mode("in_core").infer(net, TensorSource(image(96, 96)))
    assert result.embedding is not None
    head = EmbeddingHead(net)
    cells = result.embedding.requires_grad_()
    logits = head(cells)
    torch.testing.assert_close(logits.detach(), result.logits_nc)
    logits[0, 1].backward()
    assert cells.grad is not None
    assert float(cells.grad.abs().sum()) > 0


def test_a_head_with_the_asked_classes_is_kept() -> None:
    net = resnet18(num_classes=2)
    assert stage_network(net, classes=2).head is net.fc


def test_a_network_that_is_no_torchvision_resnet_is_refused() -> None:
    with pytest.raises(ConfigError, match="torchvision ResNet"):
        stage_network(nn.Linear(2, 2), classes=2)
    with pytest.raises(ConfigError, match="unknown pooling"):
        stage_network(resnet18(), classes=2, pooling="median")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown norm"):
        stage_network(resnet18(), classes=2, norm="spectral")  # type: ignore[arg-type]
