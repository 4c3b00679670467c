"""Benchmarks, and what they generate to measure on."""
