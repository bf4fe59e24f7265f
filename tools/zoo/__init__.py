"""Makes the pages of the model zoo from the configs."""
