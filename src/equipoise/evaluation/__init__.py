"""How good samples are, beside real images, with the protocol of every score."""
