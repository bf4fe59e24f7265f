"""The pages of the model zoo, made from the configs."""
