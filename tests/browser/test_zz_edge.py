from cloud.identity.guards import SESSION_COOKIE
from tests.browser.conftest import Site, Visitor
from tests.browser.estate import STAFF
import pathlib
def test_shots(site: Site, browser) -> None:
    out = pathlib.Path("/tmp/edge/shots")
    for width in (390,1280):
            context = browser.new_context(viewport={"width": width, "height": 900})
            context.add_cookies([{"name": SESSION_COOKIE, "value": site.sessions[STAFF], "url": site.url}])
            v = Visitor(context.new_page(), site, STAFF)
            lot = site.value("SELECT id FROM parking_lot ORDER BY id LIMIT 1")
            for name, path in {"devices": "/devices", "lot": f"/parking/lots/{lot}", "lots": "/parking"}.items():
                p = v.open(path)
                p.screenshot(path=out / f"{name}-{width}-b.png")
            context.close()
