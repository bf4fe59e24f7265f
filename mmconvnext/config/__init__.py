"""From a config file, options, data and this machine to a run that is ready to start."""
