"""What a step holds at each point in time, measured and predicted."""
