"""Plain torch networks, one family a file; they know neither Lightning nor Hydra nor a data set."""
