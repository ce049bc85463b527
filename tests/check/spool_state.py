"""What an agent's spool says about its boots: the newest whole checkpoint, and what follows it (proto/spool.md)."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lambda_files as files  # noqa: E402
from lambda_files import believe  # noqa: E402

CHECKPOINT, SPOOLED_PARCEL, SETTLED, BEGUN, PENDING_GAP = 32, 33, 34, 35, 36


class SpoolState:
    """What an agent's spool says about its boots."""

    def __init__(self):
        self.boots = set()
        self.floor = {}      # boot -> seq
        self.settled = {}    # boot -> [(first, last)]
        self.covered = {}    # (boot, ref) -> ordinal
        self.pending = []    # (boot, ref, first, count)
        self.believed = {}   # spool number -> bytes
        self.whole = False
        self.parcels = []

    def checkpoint(self, spool, balance):
        """Reads the checkpoint of `spool`; False, with nothing taken, if it is not whole."""
        taken = SpoolState()
        for kind, offset, body in spool.records:
            if kind != CHECKPOINT:
                return False
            try:
                message = believe(files.Message, body)
                for boot in message.messages(1):
                    believe(taken.add_boot, boot)
                for entry in message.messages(2):
                    if entry.uint(2):
                        taken.believed[entry.uint(1)] = entry.uint(2)
            except files.Damaged as error:
                balance.mismatch(f"{spool.path}:{offset}: checkpoint: {error}")
                return False
            if not message.uint(3):
                taken.whole = True
                self.__dict__.update(taken.__dict__)
                return True
        return False

    def add_boot(self, message):
        boot = message.fixed64(1)
        self.boots.add(boot)
        self.floor[boot] = max(self.floor.get(boot, 0), message.uint(5))
        for run in message.messages(7):
            self.settle(boot, run.uint(1), run.uint(2))
        for entry in message.messages(8):
            key = (boot, entry.uint(1))
            self.covered[key] = max(self.covered.get(key, 0), entry.uint(2))
        for gap in message.messages(12):
            self.pending.append((boot, gap.uint(1), gap.uint(2), gap.uint(3)))

    def settle(self, boot, first, last):
        self.settled.setdefault(boot, []).append((first, last))

    def is_settled(self, boot, seq):
        if self.whole and boot not in self.boots:
            return True  # boots leave the state when nothing of them is left
        if seq < self.floor.get(boot, 0):
            return True
        return any(first <= seq <= last for first, last in self.settled.get(boot, ()))
