"""Any images in classes: folders, or a table of paths and labels."""

from pathlib import Path
from typing import Any

from visionlab.data.index import Index
from visionlab.data.listing import find
from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError


class Folder(ImageDataModule):
    """`<class>/**/*`, `{train,val,test}/<class>/**/*`, or what a CSV file lists.

    Args:
        csv: File with the columns path, label and perhaps split, relative to `root`; None for folders.
        **common: See `ImageDataModule`.
    """

    def __init__(self, *, csv: str | Path | None = None, **common: Any) -> None:
        super().__init__(**common)
        given: object = csv  # of any type, where a config has it
        if not isinstance(given, str | Path | None):
            remedy = "give the path of a table below data.root, or null"
            raise ConfigError(f"data.csv={csv} is no file", where="data.csv", remedy=remedy)
        self.csv = csv

    def find(self) -> Index:
        """Return the images of the class folders or of the list."""
        return find(self.root, self.csv)
