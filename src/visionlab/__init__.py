"""visionlab: image-classification experiments that are a config, and runs that are remembered."""
