"""Other people's layouts of human judgements: each file turns rows into rows of this package's own layout."""
