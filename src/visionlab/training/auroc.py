"""The area under the ROC curve of two classes: of each image a score is kept, and all are read once an epoch."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Auroc(Metric):
    """Exact area under the ROC curve, of which no threshold and no binning is a part.

    Which of the two classes is the positive one does not matter: with the classes exchanged, the area is the same.

    Each step only appends to a list on the device; nothing waits for it. The lists are no part of checkpoints, which
    are never written within an evaluation. Over several devices they are gathered where the area is computed.
    """

    full_state_update = False

    margins: list[Tensor] | Tensor  # one tensor where those of several devices were gathered
    labels: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("margins", [], "cat")
        self.add_state("labels", [], "cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            logits: Float [B, 2].
            labels: Int64 [B], -1 for padding.
        """
        assert isinstance(self.margins, list) and isinstance(self.labels, list)
        logits = logits.detach().float()
        self.margins.append(logits[:, 1] - logits[:, 0])
        self.labels.append(labels.to(torch.int8))

    def compute(self) -> Tensor | None:
        """Return the area, float [] in 0..1, NaN where a network returned NaN; None where a class has no image."""
        labels = dim_zero_cat(self.labels).cpu()
        margins = dim_zero_cat(self.margins).cpu()[labels >= 0]  # the log-odds of the second class
        labels = labels[labels >= 0].long()
        if len(labels.unique()) < 2:
            return None
        if margins.isnan().any():
            return torch.tensor(torch.nan)
        # The share of the pairs of both classes in which the positive has the larger margin; a tie is half of one. As
        # probabilities, margins above 17 would all be 1 in single precision, and tied; torchmetrics' function makes
        # them such, and its sums in single precision come to 1.0000001.
        place = margins.unique(return_inverse=True)[1]
        negative, positive = (place[labels == kind].bincount(minlength=len(place)).double() for kind in (0, 1))
        below = negative.cumsum(0) - negative / 2
        area: Tensor = (positive * below).sum() / (positive.sum() * negative.sum())
        return area
