"""The names that promise a pickle, or an archive that may hold one."""

from __future__ import annotations

# `.bin` and others are used for much else: what is no pickle there is no fault.
ENDINGS = (
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".p",
    ".dat", ".data", ".sav", ".npy", ".npz", ".mar", ".ptl", ".pt2", ".debug_pkl", ".nemo",
)  # fmt: skip
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".z", ".lzma", ".zst")
