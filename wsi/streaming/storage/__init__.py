"""Where activations are kept: blocks of memory, the host, disk, managed memory."""
