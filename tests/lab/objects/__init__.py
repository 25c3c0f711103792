"""What the recorded objects mean: pods, and names and addresses of Services."""
