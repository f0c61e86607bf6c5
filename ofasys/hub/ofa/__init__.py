"""Checkpoints of OFA and OFASys: read without running anything that stands in them, and written as models of ours."""
