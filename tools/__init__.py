"""Scripts that write what the package ships."""
