"""What can be trained: each task brings its model, step, validation and model card."""
