"""From latents to pictures: samples drawn, images filled in, and either saved."""
