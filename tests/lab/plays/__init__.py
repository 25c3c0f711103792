"""Plays of whole examples, and the command line."""
