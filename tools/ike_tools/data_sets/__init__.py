"""Data sets: where their frames and annotations lie, which sequences a command takes."""
