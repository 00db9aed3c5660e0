"""From image files to named classes, with a trained run."""
