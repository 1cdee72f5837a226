"""Models: cards and bundles, backbones, aggregators.

Import the module you need: ``wsi.models.card`` stays free of torch for the service.
"""
