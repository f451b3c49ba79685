"""Settings from the data: what is there, how fast this machine is, and what follows, with a reason each."""
