"""What the lab takes from the machine: processes, and a network of its own."""
