"""`python -m hre_callback` is `hre`."""

from .cli import main

main()
