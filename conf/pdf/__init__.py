"""The PDF edition, a builder of its own: from the doctree to code of Typst, and to pages."""
