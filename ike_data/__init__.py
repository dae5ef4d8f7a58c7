"""What the commands exchange: settings, frames, flow, soft masks, and where results lie."""
