"""The pipelines: each scores a slide with a model, all behind one Protocol."""
