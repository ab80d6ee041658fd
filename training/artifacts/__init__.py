"""What a trained model is on disk, and its name."""
