"""The architecture of OFA and OFASys (2022), to go on with what was trained there.

It is the universal model's, but for where positions stand: they are added to scores, not to the stream, by projections
of their embeddings and by learned tables of how far apart two positions of one run are; the source's are part of
attention over it. `config` loads without torch.
"""
