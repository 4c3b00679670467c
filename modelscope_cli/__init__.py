"""mscope: a microscope for Hugging Face models. Tells about a model without loading it."""

__version__ = "0.1.0"
