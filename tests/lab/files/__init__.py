"""What stands in files: manifests, transcripts, recordings, and what may differ in them."""
