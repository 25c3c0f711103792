"""A chapter: its example, its stamp, its tags, and its first screen."""
