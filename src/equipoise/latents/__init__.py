"""Mathematics of latents: paths between them, a search for the latent of an image, regression, principal directions."""
