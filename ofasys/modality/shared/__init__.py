"""What several modalities use: the token adaptor."""
