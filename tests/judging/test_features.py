"""Features: shapes, batches, missing weights, and stand-ins with the interface of the published networks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import sha256
from sfumato.judging import features as module
from sfumato.judging import weights
from sfumato.judging.features import clip_similarity, clip_table, distance_name, open_features, resized
from sfumato.nets.classifier import Classifier, ClassifierConfig

from . import standins


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SFUMATO_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def pictures() -> Tensor:
    return torch.randint(0, 256, (7, 3, 40, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """A small classifier where the shipped one is looked for, stored in half precision."""
    torch.manual_seed(0)
    net = Classifier(ClassifierConfig(stem=32, channels=(32, 64), blocks=(1, 0))).half().float().eval()
    folder = tmp_path / "package" / "pretrained" / "mini-features"
    folder.mkdir(parents=True)
    save_file({key: value.half() for key, value in net.state_dict().items()}, folder / "model.safetensors")
    config = {"classes": 10, "stem": 32, "channels": [32, 64], "blocks": [1, 0]}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(module.resources, "files", lambda _: tmp_path / "package")
    return net


def test_mini_equals_its_network_on_resized_pictures(mini: Classifier, pictures: Tensor) -> None:
    features = open_features("mini")
    assert (features.name, features.dim) == ("mini", 64)
    with torch.no_grad():
        wanted = mini.features(resized(pictures, 32) / 127.5 - 1).numpy()
    np.testing.assert_allclose(features(pictures), wanted, atol=1e-5)
    assert features(pictures).dtype == np.float32


def test_batches_do_not_matter_and_progress_counts(mini: Classifier, pictures: Tensor) -> None:
    features, seen = open_features("mini"), []
    whole = features(pictures)
    features.batch = 3
    np.testing.assert_allclose(features(pictures, lambda *at: seen.append(at)), whole, atol=1e-5)
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert features(pictures[:0]).shape == (0, 64)


def test_grey_is_three_equal_channels(mini: Classifier, pictures: Tensor) -> None:
    features, grey = open_features("mini"), pictures[:, :1]
    np.testing.assert_array_equal(features(grey), features(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    "wrong", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 4, 8, 8).byte(), torch.zeros(3, 8, 8).byte()]
)
def test_other_tensors_are_refused(mini: Classifier, wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        open_features("mini")(wrong)


def test_missing_mini_and_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.resources, "files", lambda _: tmp_path)
    with pytest.raises(UserError, match=r"no mini features in .*train"):
        open_features("mini")
    with pytest.raises(UserError, match="no features named 'inceptoin'; did you mean inception"):
        open_features("inceptoin")


def test_a_callable_serves(pictures: Tensor) -> None:
    def means(x: Tensor) -> np.ndarray:
        return x.float().mean((2, 3)).numpy()

    features = open_features(means)
    assert (features.name, features.dim, features.digest) == ("means", 3, None)
    np.testing.assert_allclose(features(pictures), pictures.float().mean((2, 3)), rtol=1e-6)
    with pytest.raises(UserError, match=r"\(n, dim\)"):
        open_features(lambda x: x.float())


def test_only_inception_is_called_fid() -> None:
    assert distance_name("inception") == "FID"
    assert distance_name("mini") == "FD (mini features)"
    assert distance_name(open_features(lambda x: x.float().mean((2, 3)))) == "FD (<lambda> features)"


def test_resizing_keeps_the_range_and_does_not_alias() -> None:
    stripes = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    stripes[..., ::2] = 255
    small = resized(stripes, 32)
    assert small.shape == (1, 3, 32, 32)
    assert (small[..., 2:-2] - 127.5).abs().max() < 8
    assert small.min() >= 0
    assert small.max() <= 255


class Inception(torch.nn.Module):
    """The interface of the published file: 0..255, any size, `return_features`."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        assert return_features
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "web" / "inception-2015-12-05.pt"
    path.parent.mkdir()
    torch.jit.script(Inception()).save(str(path))
    monkeypatch.setattr(weights, "INCEPTION_URL", path.as_uri())
    return path


def test_inception_is_downloaded_once_checked_and_fed_0_to_255(
    cache: Path, published: Path, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "INCEPTION_SHA256", sha256(published))
    open_features("inception")
    given = open_features(str(published))
    assert (given.name, given.digest) == ("inception", open_features("inception").digest)
    published.unlink()
    with pytest.raises(UserError, match=f"no file {published}"):
        open_features(str(published))
    features = open_features("inception")
    assert (features.dim, features.name) == (6, "inception")
    x = pictures.float()
    np.testing.assert_allclose(features(pictures), torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1), rtol=1e-6)


def test_another_inception_file_is_refused_and_not_kept(cache: Path, published: Path) -> None:
    with pytest.raises(UserError, match="is not the published file"):
        open_features("inception")
    assert list(cache.iterdir()) == []
    (cache / published.name).write_bytes(published.read_bytes())
    with pytest.raises(UserError, match="is not the published"):
        open_features("inception")


def test_without_network_one_line_says_what_to_bring(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "INCEPTION_URL", "http://127.0.0.1:9/inception-2015-12-05.pt")
    for name, wanted in (
        ("inception", f"copy it to {cache / 'inception-2015-12-05.pt'}"),
        ("dinov2", f"model.safetensors to {cache / 'dinov2-base'}"),
        ("clip", f"model.safetensors to {cache / 'clip-vit-large-patch14'}"),
    ):
        with pytest.raises(UserError) as caught:
            open_features(name)
        assert wanted in str(caught.value)
        assert "\n" not in str(caught.value)


def test_dinov2_equals_transformers_on_prepared_pictures(
    tmp_path: Path, cache: Path, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    folder, net = standins.dinov2(tmp_path / "features")
    assert not weights.at_hand(module.DINOV2)
    with pytest.raises(UserError, match=r"no preprocessor_config\.json"):
        open_features("dinov2")
    standins.prepare(folder)
    assert weights.at_hand(module.DINOV2)
    features = open_features("dinov2")
    x = resized(pictures, 28) / 255
    x = (x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    with torch.no_grad():
        wanted = net(pixel_values=x).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(features(pictures), wanted, atol=1e-5)


def test_clip_features_and_similarity(cache: Path, pictures: Tensor) -> None:
    assert not weights.at_hand(module.CLIP)
    _, net = standins.clip(cache)
    features = open_features("clip")
    x = resized(pictures, 28) / 255
    x = (x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    tokens = torch.tensor([[0, 2, 2, 1]] * 7)
    with torch.no_grad():
        out = net(pixel_values=x, input_ids=tokens)
    unit = features(pictures) / np.linalg.norm(features(pictures), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, out.image_embeds.numpy(), atol=1e-5)
    similar = clip_similarity(pictures, ["a a"] * 7)
    np.testing.assert_allclose(similar, (out.image_embeds * out.text_embeds).sum(1).numpy(), atol=1e-5)
    prompts = ["a", "a a", "a", "a", "a", "a", "a " * 200]
    found = clip_similarity(pictures, prompts)
    assert found.shape == (7,)
    assert (np.abs(found) <= 1 + 1e-6).all()
    np.testing.assert_allclose(clip_similarity(pictures, prompts, batch=2), found, atol=1e-5)
    one = clip_similarity(pictures[1:2], ["a a"])
    np.testing.assert_allclose(one, found[1:2], atol=1e-5)
    table = clip_table(pictures, ["a", "a a"], batch=3)
    np.testing.assert_allclose(table[1:2, 1], one, atol=1e-5)
    with pytest.raises(ValueError, match="7 pictures but 1 prompts"):
        clip_similarity(pictures, ["a"])
