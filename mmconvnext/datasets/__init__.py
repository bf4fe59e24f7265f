"""The embedded `mini` data, and the checks of users' data before training and testing."""
