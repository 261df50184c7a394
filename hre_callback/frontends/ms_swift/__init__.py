"""A folder of its own: ms-swift puts the folder of a plugin file first on the path."""
