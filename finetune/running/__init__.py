"""What a run is around its loop: processes, checkpoints, copies, pictures, its card."""
