"""The last thing that the demo prints: where to go, who to be, how to stop."""

from simulators.demo.options import DemoOptions

LOGINS = {
    "admin": "everything",
    "cashier": "bills and payments",
    "guard": "the parking desk",
    "resident": "one flat: usage, bills, stays",
    "merchant": "coupons of one shop",
}
"""Login to what it is for; the passwords have the same names."""


def welcome(options: DemoOptions, secrets: dict[str, str], running: list[str]) -> str:
    """The text, for a terminal without colours."""
    base = f"http://127.0.0.1:{options.port}"
    lines = [
        "",
        f"  Staff        {base}/",
        f"  Resident     {base}/home",
        f"  Merchant     {base}/shop",
        f"  API          {base}/api/v1/openapi.json",
        f"  Gateway      gatemeter gateway monitor --site {options.site_file}",
        "",
        *(f"  {login:<12} {secrets[login]}   {purpose}" for login, purpose in LOGINS.items()),
        "",
        f"  Passwords    {options.folder / 'secrets.json'}",
        f"  E-mail       {options.mail}/  (what was sent; nothing leaves this machine)",
        f"  Logs         {options.logs}/  ({', '.join(running)})",
        "  Stop         Ctrl-C; the same command continues later",
        "",
    ]
    return "\n".join(lines)
