"""Reference pages, made from files of data and from what was recorded."""
