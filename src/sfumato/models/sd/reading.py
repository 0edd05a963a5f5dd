"""The reader of Stable Diffusion 1 and 2: see `registry.Reader`."""

from sfumato.models.sd.folder import read as read_folder
from sfumato.models.sd.single import read as read_file

__all__ = ["read_file", "read_folder"]
