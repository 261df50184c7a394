"""Where a run is also shown: Weights & Biases, trackio, TensorBoard."""
