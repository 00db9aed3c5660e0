"""Any images in classes: folders, or a table of paths and labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from visionlab.data.index import Index
from visionlab.data.listing import find
from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError


class Folder(ImageDataModule):
    """`<class>/**/*`, `{train,val,test}/<class>/**/*`, or what a CSV file lists.

    Args:
        csv: File with the columns path, label and perhaps split and group, relative to `root`; None for folders. The
            images of a group, as those of one patient, are never divided between splits or folds.
        white: The value that is white in images of 16 or 32 bits or of floats, above 0; None: 65,535, and of floats
            none is known.
        **common: See `ImageDataModule`.
    """

    def __init__(self, *, csv: str | Path | None = None, white: float | None = None, **common: Any) -> None:
        super().__init__(**common)
        if white is not None and (isinstance(white, bool) or not isinstance(white, int | float) or not white > 0):
            remedy = "give the largest value of a pixel, such as 4095 of 12 bits"
            raise ConfigError(f"data.white={white} is no number above 0", where="data.white", remedy=remedy)
        self.transform = replace(self.transform, white=white)
        given: object = csv  # of any type, where a config has it
        if not isinstance(given, str | Path | None):
            remedy = "give the path of a table below data.root, or null"
            raise ConfigError(f"data.csv={csv} is no file", where="data.csv", remedy=remedy)
        self.csv = csv

    def find(self) -> Index:
        """Return the images of the class folders or of the list."""
        return find(self.root, self.csv)
