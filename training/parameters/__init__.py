"""Parameters in memory: theta^S, theta^i, and forward passes with both."""
