"""The U-Net: any size that divides, every parameter learns, what it is told matters."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sfumato.nets.condition import TokenTable
from sfumato.nets.unet import PRESETS, Attention, UNet, UNetConfig, attend, build
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.sections import Net

from ..tiny import shaken

SMALL = UNetConfig((16, 32), 1, (False, True))
WORDS = UNetConfig((16, 32), 1, (False, True), vocabulary=9, length=4)


def made(config: UNetConfig, seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def batch(config: UNetConfig, n: int = 4, height: int = 16, width: int = 16) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, config.colours, height, width, generator=generator)
    cond = None
    if config.vocabulary:
        cond = torch.randint(0, config.vocabulary, (n, config.length), generator=generator)
    return x, torch.linspace(-1, 1, n), cond


def taught(net: UNet, steps: int) -> UNet:
    """After a few steps towards pictures that depend on everything the network is given."""
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x, c, cond = batch(net.config)
    target = x.flip(3) * c[:, None, None, None]
    if cond is not None:
        places = torch.arange(1, net.config.length + 1)
        target = target + (cond * places).sum(1).float()[:, None, None, None] / 20
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(net(x, c, cond), target).backward()
        optimizer.step()
    optimizer.zero_grad()
    F.mse_loss(net(x, c, cond), target).backward()
    return net


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 2), st.sampled_from([1, 3]),
    st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip
def test_any_size_that_divides(stem: int, levels: int, blocks: int, colours: int, down: int, right: int) -> None:
    config = UNetConfig((8, 16, 24)[:levels], blocks, (True,) * levels, stem, colours=colours)
    assert config.multiple == stem * 2 ** (levels - 1)
    x, c, _ = batch(config, 2, down * config.multiple, right * config.multiple)
    out = made(config)(x, c)
    assert out.shape == x.shape
    assert (out == 0).all()  # a fresh network answers nothing


@pytest.mark.parametrize("size", [(15, 16), (16, 18), (4, 2), (1, 1)])
def test_other_sizes_are_refused(size: tuple[int, int]) -> None:
    net = made(UNetConfig((16, 32), 1, (False, False), stem=2))
    x, c, _ = batch(net.config, 1, *size)
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} is not a multiple of 4"):
        net(x, c)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        WORDS,
        UNetConfig((16, 32), 1, (False, True), vocabulary=5),
        UNetConfig((16, 24, 32), 2, (False, True, True), stem=2, colours=1),
        UNetConfig((16, 32), 1, (True, True), stem=4, vocabulary=9, length=4),
    ],
    ids=["plain", "words", "class", "deep", "patches"],
)
def test_every_parameter_learns(config: UNetConfig) -> None:
    """Layers start at zero one behind another, so it takes three steps until the gradient is everywhere."""
    net = taught(made(config), 3)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_network_learns_a_batch_by_heart() -> None:
    net = made(SMALL)
    x, c, _ = batch(SMALL)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x, c), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("colours", [1, 3])
def test_a_picture_does_not_depend_on_its_neighbours(stem: int, colours: int) -> None:
    config = UNetConfig((16, 32), 1, (False, True), stem, colours=colours, vocabulary=9, length=4)
    net = taught(made(config), 2).double().eval()
    x, c, cond = batch(config, 4, 16, 24)
    x, c = x.double(), c.double()
    assert cond is not None
    with torch.no_grad():
        whole = net(x, c, cond)
        alone = torch.cat([net(x[k : k + 1], c[k : k + 1], cond[k : k + 1]) for k in range(4)])
    torch.testing.assert_close(whole, alone, rtol=1e-9, atol=1e-9)
    assert whole.std() > 0


def test_level_and_condition_change_the_answer() -> None:
    net = taught(made(WORDS), 3).eval()
    x, c, cond = batch(WORDS)
    assert cond is not None
    with torch.no_grad():
        plain = net(x, c, cond)
        assert (net(x, c + 0.5, cond) - plain).abs().max() > 1e-4
        assert (net(x, c, (cond + 1) % 9) - plain).abs().max() > 1e-4
        assert (net(x, c, cond.flip(1)) - plain).abs().max() > 1e-5
        assert torch.equal(net(x, c, None), net(x, c, torch.zeros_like(cond)))


def test_the_order_of_words_matters() -> None:
    captions = ["a red circle on a blue background", "a blue circle on a red background"]
    vocabulary = Vocabulary.build("words", captions=captions)
    tokens = vocabulary.encode(captions)
    assert tokens[0].sort().values.tolist() == tokens[1].sort().values.tolist()
    torch.manual_seed(0)
    table = TokenTable(vocabulary.size, vocabulary.length, 64)
    vector, words = table(tokens, 2, torch.device("cpu"))
    assert vector.shape == (2, 64)
    assert words.shape == (2, 7, 64)
    assert (vector[0] - vector[1]).norm() > 0.3 * vector.norm(dim=1).mean()
    config = UNetConfig((16, 32), 1, (False, True), vocabulary=vocabulary.size, length=vocabulary.length)
    net = taught(made(config), 3).eval()
    with torch.no_grad():
        x = torch.randn(1, 3, 16, 16).expand(2, -1, -1, -1)
        one, two = net(x, torch.zeros(2), tokens)
    assert (one - two).abs().max() > 1e-4


def test_a_condition_of_another_shape_is_refused() -> None:
    net = made(WORDS)
    x, c, cond = batch(WORDS)
    assert cond is not None
    for wrong in (cond[:2], cond[:, :3], cond[:, :1]):
        with pytest.raises(ValueError, match=r"must be \(4, 4\) tokens"):
            net(x, c, wrong)


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.integers(1, 48))
def test_attend_is_scaled_dot_product_attention(n: int, heads: int, queries: int, keys: int, d: int) -> None:
    generator = torch.Generator().manual_seed(queries * 41 + keys)
    q, k, v = (
        (3 * torch.randn(n, heads, length, d, generator=generator, dtype=torch.float64)).requires_grad_()
        for length in (queries, keys, keys)
    )
    ours, theirs = attend(q, k, v), F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    mine = torch.autograd.grad((ours * weight).sum(), (q, k, v))
    for a, b in zip(mine, torch.autograd.grad((theirs * weight).sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v), ours)


def test_attend_of_large_products_is_finite() -> None:
    q = torch.full((1, 1, 4, 8), 300.0, requires_grad=True)
    out = attend(q, q, q)
    out.sum().backward()
    assert out.isfinite().all()
    assert q.grad is not None
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("channels", range(8, 264, 8))
def test_attention_of_any_width(channels: int) -> None:
    layer = Attention(channels, context=12)
    assert channels % layer.heads == 0
    out = layer(torch.randn(2, channels, 2, 3), torch.randn(2, 5, 12))
    assert out.shape == (2, channels, 2, 3)


def test_attention_does_not_know_places() -> None:
    """Self-attention moves with the positions it is given."""
    torch.manual_seed(0)
    layer = Attention(32).double()
    torch.nn.init.normal_(next(layer.leave.parameters()))
    x = torch.randn(2, 32, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    moved = x.flatten(2)[:, :, order].reshape(x.shape)
    with torch.no_grad():
        torch.testing.assert_close(layer(moved).flatten(2), layer(x).flatten(2)[:, :, order])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"channels": (16, 32, 64)}, "3 levels of channels and 2 of attention"),
        ({"channels": (16,)}, "1 levels of channels and 2 of attention"),
        ({"channels": (12, 32)}, r"\[12, 32\] are not positive multiples of 8"),
        ({"channels": (0, 32)}, "multiples of 8"),
        ({"channels": (16, -8)}, "multiples of 8"),
        ({"channels": (), "attention": ()}, "multiples of 8"),
    ],
)
def test_shapes_that_make_no_network(config: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build("small", **config)


def test_build_lays_changes_over_a_preset() -> None:
    net = build("tiny", channels=(8, 16), attention=(False, False), stem=None, colours=1, dropout=0.5)
    assert net.config == UNetConfig((8, 16), 1, (False, False), stem=2, dropout=0.5, colours=1)
    assert net.enter.weight.is_contiguous(memory_format=torch.channels_last)


def parameters(preset: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(PRESETS[preset]).parameters())


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_size_that_the_recipe_says(preset: str) -> None:
    said = dict(re.findall(r"(\w+) ([\d.]+) M", Net.model_fields["preset"].description or ""))
    assert set(said) == set(PRESETS)
    assert parameters(preset) / 1e6 == pytest.approx(float(said[preset]), rel=0.15)


def test_dropout_acts_in_training_alone() -> None:
    net = taught(made(UNetConfig((16, 32), 1, (False, True), dropout=0.5)), 2)
    x, c, _ = batch(net.config)
    with torch.no_grad():
        assert not torch.equal(net(x, c), net(x, c))
        net.eval()
        assert torch.equal(net(x, c), net(x, c))


def test_places_are_told_apart_only_where_asked() -> None:
    """An even picture stays even away from the borders, unless every position knows where it is."""
    for places in (False, True):
        torch.manual_seed(0)
        net = UNet(UNetConfig((8,), 1, (False,), 2, places=places))
        shaken(net)
        middle = net(torch.ones(1, 3, 64, 64), torch.zeros(1))[..., 24:40, 24:40]
        even = middle.unfold(2, 2, 2).unfold(3, 2, 2)
        spread = float((even - even[:, :, :1, :1]).abs().max())
        assert spread > 1e-3 if places else spread < 1e-5


def test_the_shortcut_passes_the_input_on_by_a_weight_of_the_level() -> None:
    net = build("tiny", channels=(16, 24), attention=(False, False), stem=4, shortcut=True)
    x, c = torch.randn(2, 3, 16, 16), torch.tensor([-0.5, 0.5])
    assert torch.equal(net(x, c), torch.zeros_like(x))
    assert net.shortcut is not None
    torch.nn.init.normal_(net.shortcut.weight)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = net(x, c)
    weights = (found / x).flatten(1)
    assert found.dtype == torch.float32
    assert torch.allclose(weights, weights[:, :1].expand_as(weights), atol=1e-5)  # not rounded to bfloat16's 8 bits
    assert weights[0, 0] != weights[1, 0]
