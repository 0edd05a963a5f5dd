"""The classifier: its size, its gradients, and that a picture's features are its own."""

import pytest
import torch
from torch.nn import functional as F

from sfumato.nets.classifier import Classifier, ClassifierConfig, StandardisedConv, cropped


def test_shapes_and_size() -> None:
    net = Classifier()
    x = torch.randn(3, 3, 32, 32)
    assert net(x).shape == (3, 10)
    assert net.features(x).shape == (3, net.dim) == (3, 256)
    assert net.features(x).dtype == torch.float32
    assert (net.features(x) >= 0).all()
    assert sum(p.numel() for p in net.parameters()) * 2 <= 2_000_000
    assert not list(net.buffers())


def test_other_configurations() -> None:
    net = Classifier(ClassifierConfig(classes=3, stem=32, channels=(32, 96), blocks=(0, 2)))
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    with pytest.raises(ValueError, match="argument"):
        Classifier(ClassifierConfig(channels=(32, 64), blocks=(1,)))


def test_features_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    net = Classifier().double()
    x = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(net.layers(x)[2:3], net.layers(x[2:3]))


def test_filters_have_no_mean_and_the_norm_of_their_gain() -> None:
    conv = StandardisedConv(4, 8).double()
    with torch.no_grad():
        conv.weight.add_(3.0)
        conv.gain.copy_(torch.linspace(0.5, 2, 8))
    flat = torch.ones(1, 4, 9, 9, dtype=torch.float64)
    assert conv(flat)[..., 1:-1, 1:-1].abs().max() < 1e-12
    impulse = torch.zeros(1, 4, 3, 3, dtype=torch.float64)
    impulse[0, :, 1, 1] = 1
    with torch.no_grad():
        conv.bias.fill_(100.0)  # keeps the ReLU open
        taps = [conv(torch.eye(4, dtype=torch.float64)[c].view(1, 4, 1, 1) * impulse) - 100 for c in range(4)]
    norm = torch.stack(taps).square().sum((0, 1, 3, 4)).sqrt()
    torch.testing.assert_close(norm, conv.gain.detach())


def test_signal_neither_dies_nor_explodes() -> None:
    torch.manual_seed(0)
    net = Classifier()
    with torch.no_grad():
        x, sizes = torch.randn(16, 3, 32, 32), []
        for layer in net.layers:
            x = layer(x)
            sizes.append(float(x.square().mean()))
    assert min(sizes) > 0.2
    assert max(sizes) < 5


def test_it_learns() -> None:
    torch.manual_seed(0)
    net = Classifier(ClassifierConfig(classes=2, stem=32, channels=(32, 32), blocks=(1, 0)))
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    y = torch.arange(32) % 2
    x = torch.randn(32, 3, 32, 32).cumsum(2) * 0.1
    x[y == 1] = x[y == 1].transpose(2, 3)
    for _ in range(15):
        loss = F.cross_entropy(net(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(p.grad is not None for p in net.parameters())
    assert F.cross_entropy(net(x), y) < 0.2


def test_crops_move_each_picture_by_whole_pixels() -> None:
    x = torch.randn(40, 2, 12, 10)
    out = cropped(x, torch.Generator().manual_seed(0), pad=2)
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    shifts = set()
    for k in range(40):
        found = [
            (i, j) for i in range(5) for j in range(5)
            if torch.equal(padded[k, :, i : i + 12, j : j + 10], out[k])
        ]  # fmt: skip
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 12
    assert torch.equal(out, cropped(x, torch.Generator().manual_seed(0), pad=2))
    assert out.is_contiguous(memory_format=torch.channels_last)
