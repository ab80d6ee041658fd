"""What runs inside executors, with a model."""
