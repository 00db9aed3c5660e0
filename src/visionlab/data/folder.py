"""Any folder of images in classes."""

from visionlab.data.files import class_folders
from visionlab.data.index import Index
from visionlab.data.module import ImageDataModule


class Folder(ImageDataModule):
    """`<class>/**/*` or `{train,val,test}/<class>/**/*`."""

    def find(self) -> Index:
        """Return the images of the class folders."""
        return class_folders(self.root)
