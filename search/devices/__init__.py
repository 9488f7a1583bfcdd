"""GPUs, cores, the slots they make, and their memory."""
