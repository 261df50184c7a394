"""A model's log-likelihoods of the answers: planned, proven, exact, without a trace."""
