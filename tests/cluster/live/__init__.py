"""Tests that need a cluster: `make check-cluster` runs them."""
