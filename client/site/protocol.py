"""What the thin ClientApp and the site worker say to each other over gRPC. A message is bytes, the first of which says
what follows.

WORK: one task, one reply. Both travel alike: HEADER with the stamp (of a reply: the newest hash of the log of what
left), a line break and the parcel's manifest; then DATA, any number of times: together the text of the parcel and its
segments, in the order and of the sizes that the manifest says (common/wire/parcel.py). With LIGHT in place of HEADER
there is the text alone, and the segments travel as objects. The worker does one task at a time and answers one that it
has done before from its store. While the caller waits it hears PROGRESS, which says nothing else, at least every few
seconds.

WATCH: lines of the worker's event log, as JSON, until the caller hangs up. ALIVE: nothing, at once, whatever the worker
does: one that does not answer is ended by the supervisor.

The carrier (carrier.py), which has the hospital's key, asks WANT for the object that is wanted: a JSON object of the
fields of carriage.Want, or nothing after a while. TAKE brings bytes of it: first JSON with its ``sha256`` and the
``offset`` at which they begin, then they; the answer is how many are here. GIVE asks so for bytes of an object that is
to be delivered: first comes the SHA-256 of all that follows, then they. TELL says as JSON of a ``sha256`` how many
bytes are ``done``, and at last the ``outcome``.
"""

SERVICE = "fedthorax.site.SiteWorker"
WORK, WATCH, ALIVE, WANT, TAKE, GIVE, TELL = (
    f"/{SERVICE}/{name}" for name in ("Work", "Watch", "Alive", "Want", "Take", "Give", "Tell")
)
HEADER, LIGHT, DATA, PROGRESS = b"H", b"L", b"D", b"P"
