"""Grid, Optuna, greedy, folds and seeds, as lists of runs."""
