"""What a run leaves on the disk, and how it is written so that nothing is ever lost."""
