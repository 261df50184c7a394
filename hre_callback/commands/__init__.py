"""What each `hre` command does: it reads its options, calls one function of the package and prints what it gives."""
