"""What transformers knows of its model types, as data that `tools.make_knowledge` writes."""
