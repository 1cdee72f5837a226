"""Training data looked at before anything is trained: counts, leakage, coverage, noise, splits."""
