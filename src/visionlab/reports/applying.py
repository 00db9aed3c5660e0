"""How a threshold that was found on a page is used: the command that classifies with it."""

import shlex

from visionlab.out_folder import from_here
from visionlab.reports.page import Html, code, note
from visionlab.reports.reading import Reading
from visionlab.sweeps.space import overrides

STEP = 1e-6  # the last digit of the probabilities that a run records


def threshold(run: Reading, positive: str, limit: float, sensitivity: float) -> list[Html]:
    """The command that takes images for the positive class from a probability on.

    Args:
        run: The run.
        positive: The positive class.
        limit: A recorded probability; the image that it is of may have had half of its last digit less.
        sensitivity: What it was chosen for, a share.
    """
    below = max(0.0, limit - STEP / 2)
    asked = {"run": from_here(run.dir), "source": "photos", "threshold": f"{positive}:{below:.7f}"}
    command = shlex.join(["python", "-m", "visionlab.predict", *overrides(asked)])
    words = f"To classify the images of a folder photos with the threshold for a sensitivity of {sensitivity:.0%}:"
    return [note(words.replace("%", " %")), code(command)]
