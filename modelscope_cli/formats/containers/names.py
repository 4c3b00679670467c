"""The names that promise a pickle, or an archive that may hold one."""

from __future__ import annotations

# `.bin` and others are used for much else: what is no pickle there is no fault.
ENDINGS = (
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".p",
    ".dat", ".data", ".sav", ".npy", ".npz", ".mar", ".ptl", ".pt2", ".debug_pkl", ".nemo",
)  # fmt: skip
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".z", ".lzma", ".zst")


def is_of_a_pickle(name: str) -> bool:
    """Whether a name promises a pickle, compressed perhaps: `x.pkl`, `x.pkl.gz`."""
    name = name.lower()
    ending = next((each for each in ARCHIVES if name.endswith(each)), "")
    return name.removesuffix(ending).endswith(ENDINGS)


def promises(name: str) -> bool:
    """Whether a name is one of a pickle, or of an archive."""
    return name.lower().endswith((*ENDINGS, *ARCHIVES))
