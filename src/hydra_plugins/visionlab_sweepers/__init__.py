"""The Hydra sweepers of visionlab, thin: the work is in visionlab.sweeps."""
