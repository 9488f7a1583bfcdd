"""Study files and data files, each wrong in one way."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from command_line import call

DIGITS = '[data]\nsource = "digits"\n'
LONG = "a" * 10_000
IRIS = "a,b,target\n" + "1.5,x,yes\n2.5,y,no\n3.5,x,yes\n4.5,y,no\n" * 5

STUDIES = {
    "syntax.toml": "[study\n",
    "typo.toml": DIGITS + "[serach]\n",
    "several.toml": '[data]\nsource = "digits"\nscaling = "max"\n[study]\nseed = -1\ntimeout_s = 0\n',
    "vast.toml": DIGITS + "folds = 1\n[space]\nwidth = { low = 8, high = 45000 }\ndepth = 2\n[workers]\nslots = 1000\n",
    "target.toml": '[data]\nsource = "iris.csv"\ntarget = "species"\n',
}

TEXTS = {
    "iris.csv": IRIS,
    "empty.csv": "",
    "no-rows.csv": "a,target\n",
    "twice.csv": "a,a,target\n1,2,yes\n",
    "one-class.csv": "a,target\n" + "1,yes\n" * 20,
    "rare.csv": IRIS + "9.5,x,perhaps\n",
    "all-missing.csv": "a,target\n" + ",yes\n,no\n" * 10,
    "ragged.csv": "a,target\n1,yes\n1,2,3,no\n",
    "notes.txt": "hello\n",
    "broken.parquet": "not a table\n",
    "columns.csv": ",".join(f"c{n}" for n in range(5000)) + "\n" + "1," * 4999 + "1\n",
    "gaps.csv": ",".join(f"c{n}" for n in range(300)) + ",target\n" + ("inf," * 300 + "1\n" + "inf," * 300 + "2\n") * 5,
    "essay.csv": "a,target\n" + "".join(f"{n},{'x' * 20_000}{n}\n" for n in range(4)),
    "quote.csv": 'a,target\n"1,yes\n2,no\n',
    "lines.csv": 'a,"b\nc"\n1,2\n',
    "fractions.csv": "a,target\n" + "".join(f"{number},{number}.5\n" for number in range(30)),
    "unlabelled.csv": IRIS + "1.5,x,\n" * 200,
    "hidden.csv": "a,\x1b[2Jb\n1,2\n",
}


def write_wrong_files(folder: Path) -> None:
    """Writes all of them into a folder."""
    for name, text in (STUDIES | TEXTS).items():
        (folder / name).write_text(text)
    (folder / "folder.toml").mkdir()
    (folder / "binary.toml").write_bytes(b"\xff\xfe")
    x, y = np.zeros((20, 2), np.float32), np.arange(20) % 3
    np.savez(folder / "pickled.npz", x=np.array([[{}]] * 20), y=y)
    np.savez(folder / "other.npz", images=x, labels=y)
    np.savez(folder / "ragged.npz", x=x, y=y[:-1])
    np.savez(folder / "infinite.npz", x=np.where(y[:, None] == 1, np.inf, x), y=y)
    np.savez(folder / "onehot.npz", x=x, y=np.eye(3)[y])
    with zipfile.ZipFile(folder / "broken.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00 cut off")
    (folder / "utf16.csv").write_text("ä,target\n1,2\n", encoding="utf-16")
    (folder / "gzip.csv").write_bytes(b"\x1f\x8b\x08 and so on")
    save_header(folder / "negative.npz", "{'descr': '<f4', 'fortran_order': False, 'shape': (-20, 2), }")
    save_header(folder / "header.npz", "{'descr': '<f4', 'fortran_order': False, 'shape': (20, 2")
    save_header(folder / "bomb.npz", f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(10**9, 10**9)}, }}")


def save_header(path: Path, header: str) -> None:
    """An archive whose arrays have this header and no data."""
    text = header.encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        labels = text.replace(b"<f4", b"|u1").replace(b", 1000000000)", b",)")
        archive.writestr("y.npy", b"\x93NUMPY\x01\x00" + len(labels).to_bytes(2, "little") + labels)


def assert_one_line(typed: str, code: int, says: str) -> None:
    answer = call(*typed.split())
    assert (answer.code, answer.out) == (code, "")
    lines = answer.err.splitlines()
    assert [line for line in lines if not line.startswith("error: ")] == []
    assert len(lines) == 1
    assert says in answer.err
