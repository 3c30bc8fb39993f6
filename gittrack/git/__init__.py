"""Floor 1, git: repositories, objects, packs, refs, and the work tree as it stands.

The only floor that imports dulwich or speaks names as bytes. It may import `gittrack.errors` alone and knows
nothing of runs. Modules: `repository` (where it is, what it supports), `config` (git's settings), `objects`
(blobs, trees and commits as bytes), `packs` (one durable pack a write), `loose` (what others wrote without a
sync), `refs` (compare-and-swap under a lock), `reading` (one object at a time), `bulk` (histories and thousands
of objects, by C git), `ancestry` (which commit stands behind which), `promised` (what a partial clone left with
its remote), `tree_diff` (which files differ), `revisions` (what a person calls a commit), `asking` (talks with a
running git), `head` (HEAD's trees, remembered), `worktree` (the code as it stands), of which `status` says what
changed, `filters` what must not run, `source_files` what is taken and `carrying` how it gets into another
repository; `maintenance` (folding packs), `identity` (who commits), `command` (the user's git); `remotes` (other
repositories), `network` (git commands that speak with them), `settings` and `user_settings` (what git config
says), `credentials`, `web` and `ssh` (how git would reach a server, for what is not git).

Decided: dulwich builds nothing that must survive a power cut. Its own commit, tag, gc, pack_refs and LFS
calls each lose something, so none is called; objects go into one fsynced pack of our own.
Rejected: loose objects (one fsync each, and a race with ``git gc --prune=now``).
"""
