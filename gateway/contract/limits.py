"""Bounds of everything that crosses the wire; both sides enforce them before they allocate."""

MAX_WIRE_BYTES = 256 * 1024
"""Largest MQTT payload, as it is on the wire."""

MAX_DECODED_BYTES = 1024 * 1024
"""Largest JSON text after inflating; inflating stops there, whatever the payload claims."""

COMPRESS_ABOVE_BYTES = 512
"""JSON up to this size goes uncompressed, so that any MQTT tool can read it."""

MAX_POINTS_PER_BATCH = 2_000
MAX_ITEMS_PER_BATCH = 500
"""Passages or command results in one batch, sequence numbers in one acknowledgement."""

MAX_NESTING = 8
"""Deepest list or object of a message; the contract's own messages need six."""

MAX_CODE_CHARS = 64
"""Project, gateway, device and channel codes."""

MAX_TEXT_CHARS = 500
"""Reasons, details, names."""

MAX_DETAIL_CHARS = 4_000
"""What is wrong with a configuration: a line for each problem."""

MAX_SITE_CHARS = 200_000
MAX_TEMPLATE_CHARS = 100_000
MAX_TEMPLATES = 100
"""Of one configuration; all of it together must still fit a message."""

MIN_CONFIRM_S = 1
MAX_CONFIRM_S = 3_600
"""Probation of a configuration."""

MAX_ACTIONS = 16
"""What one device can be told to do."""

MAX_PLATE_CHARS = 16

MAX_ACCESS_ENTRIES = 1_000
"""Of one message about vehicles."""
MAX_ACCESS_PARTS = 1_000
"""Of one change: a million entries."""
MAX_PLATES_OF_PERMIT = 50
MAX_LOTS = 100
MAX_NEEDS = 16
MAX_LANES_OF_PERMIT = 50

MIN_VALUE = -(2**63)
MAX_VALUE = 2**63 - 1
"""Values are stored as signed 64-bit integers."""

MIN_TIME_MS = 946_684_800_000
"""2000-01-01 UTC. An earlier time on the wire is a broken clock."""

MAX_TIME_MS = 4_102_444_800_000
"""2100-01-01 UTC."""
