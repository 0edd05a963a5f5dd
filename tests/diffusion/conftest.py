from __future__ import annotations

import pytest
import torch

from sfumato.diffusion.exact import Mixture


@pytest.fixture
def mixture() -> Mixture:
    """Three components in six dimensions, float64."""
    generator = torch.Generator().manual_seed(3)
    means = 0.6 * torch.randn(3, 2, 1, 3, generator=generator, dtype=torch.float64)
    return Mixture(means, 0.25, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
