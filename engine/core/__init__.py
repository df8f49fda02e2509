"""Values and contracts that cross rooms: features, words, scores, skill, seeds, texts, files. Nothing of ComfyUI."""
