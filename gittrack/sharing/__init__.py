"""Floor 3, sharing: histories and artifacts between clones, through any git remote and no server of ours.

It may import `gittrack.store`, `gittrack.artifact_stores` and below. Modules: `pushing` (to a remote), with
`pointers` (which artifacts commits name), `uploading` (those first), `uploaded` (up to where that is known) and
`refusals` (what a remote says no to); `pulling` (from a remote), with `fetching` (what it has, and bringing it)
and `renumbering` (tags made apart); `status` (what is not shared yet). `objects` moves artifacts between here
and the `places` where they may be, by `arrivals`; `lazy` fetches when one is opened, `cache` bounds what was
fetched, `choosing_artifacts` finds those that a pattern means; `stores` and `trust` are the places that records
name. `setup` lets plain git carry runs, by `push_hook` and what that runs, `hooked`. Runs in flight are shown to
others by `checkpointing`, a process that `beside` starts as `wishes` say, through `showing` and `handover`;
`live_refs` are gone once a run is shared for good. `elsewhere` tracks into a repository that is reached by git
alone.

Decided: objects first, then refs, atomically and never by force, so that a remote never names what it does not
have. Joining two histories is a commit that is the same wherever it is made.
"""
