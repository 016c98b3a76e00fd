"""Build hook: bundles the web assets, so that an installed gatemeter needs neither Node nor a CDN."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleAssets(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own generic is untyped
    """Runs before every wheel and every editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Installs the locked npm packages and copies what the pages use into `static/vendor`."""
        del version, build_data
        if self.target_name != "wheel":
            return
        web = Path(self.root) / "cloud" / "web"
        # Run by path: at build time the package itself is not importable yet.
        namespace: dict[str, Any] = {"__name__": "bundle", "__file__": str(web / "bundle.py")}
        exec(compile((web / "bundle.py").read_text("utf-8"), str(web / "bundle.py"), "exec"), namespace)  # noqa: S102
        namespace["bundle"](web)
