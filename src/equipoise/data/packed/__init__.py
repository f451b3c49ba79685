"""Images decoded once into one array on the disk: `pack` makes it, `images` reads it."""
