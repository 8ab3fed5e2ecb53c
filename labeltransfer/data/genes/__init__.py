"""Gene names and lengths, the genes that both sides share, and the highly variable ones."""
