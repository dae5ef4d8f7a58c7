"""Pictures, a video and a report of what each step of the exchange has found."""
