"""What a person sees of a run, from its record: page, picture, terminal."""
