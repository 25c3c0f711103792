"""The HTML edition: what stands around its pages, and what readers take with them."""
