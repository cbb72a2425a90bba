"""What the predict command reads and leaves behind: sources, frames, outputs, their record."""
