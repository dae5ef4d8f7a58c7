"""What the three commands exchange: settings, frames, optical flow files and soft masks."""
