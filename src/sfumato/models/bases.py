"""Bases by name: the names of the registry, and the Hub id of any pipeline of the known families."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from sfumato.errors import UserError
from sfumato.models.registry import FAMILIES, INDEX
from sfumato.pictures.source import data_folder

NAMES = {short: repo for known in FAMILIES for short, repo in known.bases.items()}
GONE = {
    "runwayml/stable-diffusion-v1-5": NAMES["sd15"],
    "stabilityai/stable-diffusion-2-1": NAMES["sd2"],
    "stabilityai/stable-diffusion-2": NAMES["sd2"],
}
"""Repositories that were removed from the Hub, each with another one that has the same weights."""
WEIGHTS = ("model.safetensors", "diffusion_pytorch_model.safetensors")  # of transformers and of diffusers
PATTERNS = [
    INDEX,
    *{f"{part}/{file}" for known in FAMILIES for part in known.networks for file in ("config.json", *WEIGHTS)},
    *{f"{part}/*" for known in FAMILIES for part in known.others},
    *("config.json", WEIGHTS[1], "scheduler_config.json"),  # of pixel models, which may have all files in one folder
]
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_base(name: str) -> bool:
    """Whether a name can be a base: one of NAMES, or a Hub id owner/name if there is no local folder `owner`."""
    local = name.startswith("runs/") or Path(name).parent.is_dir()
    return name in NAMES or (bool(HUB_ID.fullmatch(name)) and not local)


def located(name: str) -> Path:
    """The folder of a base.

    It is looked for in `$SFUMATO_DATA` by its name or Hub id, then in the Hub's cache, into which it is downloaded if
    it is missing. A repository that was removed from the Hub is replaced, with a warning.
    Raises UserError, which names the files to provide, if the base cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo = NAMES.get(name, name)
    if repo in GONE:
        logging.getLogger(__name__).warning("%s is gone from the Hub; %s holds the same weights", repo, GONE[repo])
        repo = GONE[repo]
    data = data_folder()
    for place in [data / name, data / repo, data / repo.split("/")[-1]] if data else []:
        if (place / INDEX).is_file():
            return place
    try:
        return Path(snapshot_download(repo, allow_patterns=PATTERNS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        known = next((each for each in FAMILIES if repo in each.bases.values()), None)
        parts = ", ".join(f"{part}/" for part in (*known.networks, *known.others)) if known else "all folders it names"
        where = f"$SFUMATO_DATA/{repo.split('/')[-1]}"
        raise UserError(
            f"{name}: {repo} of the Hub is not on this machine and cannot be downloaded ({type(error).__name__}): "
            f"copy its folder, with {INDEX}, {parts}, to {where}"
        ) from error
