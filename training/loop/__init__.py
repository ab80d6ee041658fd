"""How a training run proceeds."""
