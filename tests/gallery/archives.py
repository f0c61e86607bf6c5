"""Archives as registries have them, made here: wheels, npm's .tgz, .deb."""

import io
import tarfile
import zipfile
from pathlib import Path


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tgz(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    path.write_bytes(tarred(files, mode))
    return path


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """ar of debian-binary, control and data; members of odd length are followed by a byte."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": tarred({"./control": b"Package: x\n"}, "w:xz"),
        "data.tar.xz": tarred({f"./{name}": content for name, content in files.items()}, "w:xz"),
    }
    whole = b"!<arch>\n"
    for name, content in members.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        whole += content + b"\n" * (len(content) % 2)
    path.write_bytes(whole)
    return path


def tarred(files: dict[str, bytes], mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


MADE = {".whl": wheel, ".tgz": tgz, ".deb": deb}
