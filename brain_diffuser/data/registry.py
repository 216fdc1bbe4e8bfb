"""The kinds of datasets that `datasets.*.adapter` in config.yaml may name: one line each."""

from brain_diffuser.data import bids, bold5000, custom, demo, haxby, laion_fmri, nsd, rehearsal
from brain_diffuser.data.adapter import Adapter

ADAPTERS: dict[str, Adapter] = {
    "nsd": nsd.ADAPTER,
    "demo": demo.ADAPTER,
    "custom": custom.ADAPTER,
    "bids": bids.ADAPTER,
    "haxby": haxby.ADAPTER,
    "bold5000": bold5000.ADAPTER,
    "laion_fmri": laion_fmri.ADAPTER,
    "rehearsal": rehearsal.ADAPTER,
}
