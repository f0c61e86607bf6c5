"""Side by side with the peers, one script and one dated page per question."""
