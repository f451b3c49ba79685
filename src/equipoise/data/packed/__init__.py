"""Images packed once into one array on the disk, and read from it."""
