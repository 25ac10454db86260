"""Page pixels to vision tokens: the DeepEncoder's layers, in two sizes."""
