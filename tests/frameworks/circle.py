"""What both circles share: comparing, reporting, data."""
import gzip
import re

import numpy as np

FASHION = "/usr/share/datasets/fashion-mnist"  # Debian package dataset-fashion-mnist


def usable(name):
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def difference(got, want):
    """The largest difference of two lists of arrays, relative to the scale of what is wanted."""
    if len(got) != len(want):
        return float("inf")
    worst = 0.0
    for g, w in zip(got, want):
        g, w = np.asarray(g, np.float64), np.asarray(w, np.float64)
        if g.shape != w.shape:
            return float("inf")
        if w.size:
            both = np.isfinite(g) & np.isfinite(w)
            if not np.array_equal(np.isfinite(g), np.isfinite(w)):
                return float("inf")
            scale = np.abs(w[both]).max(initial=0.0) or 1.0
            worst = max(worst, float(np.abs(g[both] - w[both]).max(initial=0.0) / scale))
    return worst


def images(channels_last, rows=8):
    """A batch of Fashion-MNIST, or noise where the dataset is not installed."""
    try:
        with gzip.open(FASHION + "/train-images-idx3-ubyte.gz") as f:
            x = np.frombuffer(f.read(16 + rows * 784)[16:], np.uint8).reshape(rows, 28, 28).astype(np.float32) / 255
        with gzip.open(FASHION + "/train-labels-idx1-ubyte.gz") as f:
            y = np.frombuffer(f.read(8 + rows)[8:], np.uint8)
    except OSError:
        rng = np.random.default_rng(1)
        x, y = rng.random((rows, 28, 28), np.float32), rng.integers(0, 10, rows)
    x = x[..., None] if channels_last else x[:, None]
    return x, y.astype(np.int32 if channels_last else np.int64)


class Report:
    def __init__(self):
        self.failed, self.passed, self.skipped, self.worst = 0, 0, 0, {}
        self.covered = 0  # models that went the whole way
        self.noted = {}  # the largest of what is told, and not judged, with its model

    def add(self, name, what, value, limit):
        self.worst[what] = max(self.worst.get(what, 0.0), value)
        self.check(name, what, value <= limit, f"{value:.2g}, at most {limit:g}")

    def judge(self, name, what, got, want, exact, limit):
        """Adds how far `got` is from the framework's float32, `want`, or from its own float64, `exact`, if that is nearer: two
        float32 computations may each be as good as the limit and yet differ by more. Without `exact` it is the first."""
        near = difference(got, want)
        if exact is not None:
            self.note(what + ": float32 of the framework from its float64", difference(want, exact), name)
            self.note(what + ": Strata from float64 of the framework", difference(got, exact), name)
            self.note(what + ": Strata from float32 of the framework", near, name)
            near = min(near, difference(got, exact))
        self.add(name, what, near, limit)

    def note(self, what, value, name):
        if value >= self.noted.get(what, (-1.0,))[0]:
            self.noted[what] = (value, name)

    def check(self, name, what, good, text):
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        if not good:
            print(f"FAILED {name}: {what}: {text}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)

    def finish(self, title):
        for what, value in sorted(self.worst.items()):
            print(f"{title}: {what}: largest relative difference {value:.2g}")
        for what, (value, name) in sorted(self.noted.items()):
            print(f"{title}: {what}: at most {value:.2g} ({name})")
        print(f"{title}: {self.passed} passed, {self.failed} failed; {self.covered} models covered, {self.skipped} skipped", flush=True)
        return 1 if self.failed or not self.passed else 0
