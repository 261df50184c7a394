"""Where people start a training run other than from Python: the launcher `hre run`, and plugins for front-ends."""
