"""Training of the compact encoder: words first, then texts, from a text teacher."""
