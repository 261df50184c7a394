"""The folder that `hre run` puts first on PYTHONPATH; Python itself imports what lies in it."""
