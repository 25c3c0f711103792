"""Drawings: what they are made of, and how they fit into pages."""
