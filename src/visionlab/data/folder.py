"""Any images in classes: folders, or a table of paths and labels."""

from pathlib import Path
from typing import Any

from visionlab.data.files import class_folders
from visionlab.data.index import Index
from visionlab.data.listing import listed
from visionlab.data.module import ImageDataModule


class Folder(ImageDataModule):
    """`<class>/**/*`, `{train,val,test}/<class>/**/*`, or what a CSV file lists.

    Args:
        csv: File with the columns path, label and perhaps split, relative to `root`; None for folders.
        **common: See `ImageDataModule`.
    """

    def __init__(self, *, csv: str | Path | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.csv = csv

    def find(self) -> Index:
        """Return the images of the class folders or of the list."""
        return class_folders(self.root) if self.csv is None else listed(self.root, self.root / self.csv)
