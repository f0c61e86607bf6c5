"""Backbones of Hugging Face's transformers as engines: `engine: hf:FOLDER` or `hf:OWNER/NAME`.

The library, which the extra `hf` brings, is imported when a backbone is first made.
"""
