"""The processes of a node: one file per actor, and what they are made of."""
