"""Floor 2, artifact_stores: where artifact objects are kept beyond this machine, and moving them there and back.

It may import `gittrack.git` and below; it knows nothing of runs, and never of `gittrack.store`, its neighbour.
Modules: `transfers` (what every store can do, and what is told of it), `moving` (several at a time, bytes
checked as they go by); `choosing` (the store of a remote) by `endpoints` (where it is); `folders` (a folder, or
the LFS store of a repository on disk), `url_store` (what a store's URL may say), `cloud` (buckets, by fsspec),
`sftp` (a folder on another machine, by paramiko). An LFS server is `lfs_store`, which speaks by `lfs_batch`
(what is said, as data), `lfs_transfers` (one object), `lfs_access` (who we are) with `lfs_ssh`, and `lfs_http`
(connections) with `lfs_addresses` (where none leads).

Decided: an object is named by the sha256 of its bytes everywhere, checked while it is streamed in, and never whole
in memory. A store is asked first what it has, so that what was cut goes on by skipping that.
"""
