"""The sections of the page of `sfumato demo`, one file each."""
