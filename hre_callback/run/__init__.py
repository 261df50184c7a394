"""One training run: its evaluations joined, its record, its training signals, its comparison with others."""
