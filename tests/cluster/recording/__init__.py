"""Records examples: what was printed, and what istiod sent to each proxy in each state."""
