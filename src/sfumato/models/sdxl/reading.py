"""The reader of Stable Diffusion XL: see `registry.Reader`."""

from sfumato.models.sdxl.folder import read as read_folder
from sfumato.models.sdxl.single import read as read_file

__all__ = ["read_file", "read_folder"]
