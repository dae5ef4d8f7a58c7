"""The network module: a U-Net trained from scratch on one video with soft masks as labels."""
