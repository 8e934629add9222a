"""The guest of a peer: our kernel, root file system and function, and the few files more that find them there."""

import json
import pathlib
import shutil
import stat

# Of our own devices, whose modules a peer's guest has no use for.
OWN_MODULES = {"virtio_pmem", "nd_pmem", "nd_btt", "libnvdimm"}
# By peer: the program that the kernel runs first, from the C file of that name, and the modules that it needs, in the
# order of their loading.
RDINIT = {"qemu": "disks", "firecracker": "vsock-guest"}
MODULES = {"qemu": ("virtio_blk",),
           "firecracker": ("virtio_blk", "vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport")}
HERE = pathlib.Path(__file__).resolve().parent


class Runtime:
    """Files of a runtime that is built."""

    def __init__(self, data, name):
        folder = pathlib.Path(data) / "runtimes" / name
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.rootfs = folder / "rootfs.erofs"
        self.initramfs = folder / "initramfs.cpio"
        kernel = pathlib.Path(data) / "kernels" / self.manifest["kernel_folder"]
        self.kernel = kernel / "vmlinux"
        self.modules = kernel / "lib" / "modules" / self.manifest["kernel_release"]
        self._folder = folder

    def compile_command(self):
        """As src/images/appfs.cc runs it; without the two folders at its end. Empty: the language has none."""
        step = self.manifest["recipe"].get("compile")
        if not step or not self.manifest.get("code_format"):
            return []
        return [*step["interpreter"], self._folder / step["script"], self.manifest["code_format"]]


# --- newc archives: the kernel's buffer-format.rst --------------------------------------------------------------------

_HEADER = 110


def cpio_entry(path, content=b"", mode=stat.S_IFREG | 0o644):
    name = path.encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
    return _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name) + _padded(content)


def cpio(entries):
    return b"".join(entries) + cpio_entry("TRAILER!!!", mode=0)


def cpio_file(archive, wanted):
    """The content of one file. KeyError where it is not there."""
    at = 0
    while archive[at:at + 6] == b"070701":
        size, name_size = int(archive[at + 54:at + 62], 16), int(archive[at + 94:at + 102], 16)
        name = archive[at + _HEADER:at + _HEADER + name_size - 1].decode()
        begin = _up(at + _HEADER + name_size)
        if name == wanted:
            return archive[begin:begin + size]
        at = _up(begin + size)
    raise KeyError(wanted)


def _up(place):
    return (place + 3) & ~3


def _padded(data):
    return data.ljust(_up(len(data)), b"\0")


def peer_initramfs(own, name, program, modules):
    """`own`, the runtime's initramfs, and behind it what lays itself over it: more modules ({name: content}), another
    list of them, and the program `name`, which is to be the kernel's rdinit."""
    listed = [line for line in cpio_file(own, "modules.list").decode().split()
              if pathlib.PurePath(line).stem not in OWN_MODULES]
    listed += [f"/modules/{module}.ko" for module in modules]
    more = [*(cpio_entry(f"modules/{module}.ko", content) for module, content in modules.items()),
            cpio_entry("modules.list", "".join(f"{line}\n" for line in listed).encode()),
            cpio_entry(name, program, stat.S_IFREG | 0o755)]
    return _padded(own) + cpio(more)


def initramfs(run, runtime, peer, folder):
    """Makes the peer's initramfs in `folder`: its path."""
    program = folder / RDINIT[peer]
    run.command("cc", "-static", "-O2", "-s", "-o", program, HERE / f"{RDINIT[peer].replace('-', '_')}.c")
    modules = {name: next(runtime.modules.rglob(f"{name}.ko")).read_bytes() for name in MODULES[peer]}
    made = folder / f"initramfs-{peer}.cpio"
    made.write_bytes(peer_initramfs(runtime.initramfs.read_bytes(), RDINIT[peer], program.read_bytes(), modules))
    return made


def function_image(run, runtime, app, folder):
    """The function's file system, made as ours is: compiled where its language can be."""
    stage = folder / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(app, stage, ignore=shutil.ignore_patterns("__pycache__"))
    command = runtime.compile_command()
    if command:
        run.command(*command, stage, stage)
    image = folder / "appfs.erofs"
    image.unlink(missing_ok=True)
    run.command("mkfs.erofs", "-x-1", "-Enoinline_data", "-T0", "--all-root", image, stage)
    return image
