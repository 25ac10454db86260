"""Text to page pixels, without a font engine."""
