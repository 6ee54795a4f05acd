"""What the thin ClientApp and the site worker say to each other over gRPC. A message is bytes, the first of which says
what follows.

WORK: one task, one reply. Both travel alike: HEADER with the stamp (of a reply: the newest hash of the log of what
left), a line break and the parcel's manifest; then DATA, any number of times: together the text of the parcel and its
segments, in the order and of the sizes that the manifest says (common/wire/parcel.py). The worker does one task at a
time and answers one that it has done before from its store. While the caller waits it hears PROGRESS, which says
nothing else, at least every few seconds.

WATCH: lines of the worker's event log, as JSON, until the caller hangs up. ALIVE: nothing, at once, whatever the worker
does: one that does not answer is ended by the supervisor.
"""

SERVICE = "fedthorax.site.SiteWorker"
WORK, WATCH, ALIVE = (f"/{SERVICE}/{name}" for name in ("Work", "Watch", "Alive"))
HEADER, DATA, PROGRESS = b"H", b"D", b"P"
