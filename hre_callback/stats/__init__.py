"""Numbers to trust: correlations, paired tests over looks, ceilings, verdicts. NumPy and SciPy, no torch."""
