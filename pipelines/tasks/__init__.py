"""Works with a trained model on executors: adapts domains, scores samples, ranks requests."""
