"""Floor 3, sharing: histories and artifacts between clones, through any git remote and no server of ours.

It may import `gittrack.store`, `gittrack.artifact_stores` and below.

Decided: objects first, then refs, atomically and never by force, so that a remote never names what it does not
have. Joining two histories is a commit that is the same wherever it is made.
"""
