"""Results as reports: what a command shows of them, in sections, documents and records."""
