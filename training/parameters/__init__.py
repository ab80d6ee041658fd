"""What theta is in memory: theta^S, theta^i, and forward passes with them."""
