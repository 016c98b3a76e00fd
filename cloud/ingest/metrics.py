"""What ingest counts."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("gatemeter_ingest_messages", "Messages by kind and outcome.", ["kind", "outcome"])
POINTS = Counter("gatemeter_ingest_points", "Points by what became of them.", ["outcome"])
GROUPS = Counter("gatemeter_ingest_groups", "Groups of messages by outcome of their transaction.", ["outcome"])
GROUP_SECONDS = Histogram("gatemeter_ingest_group_seconds", "Time from taking a group to its COMMIT.")
LAG_SECONDS = Gauge(
    "gatemeter_ingest_lag_seconds", "Age of the oldest batch of the last group at its COMMIT; 0 after a quiet minute."
)
OLDEST_WAITING_SECONDS = Gauge(
    "gatemeter_ingest_oldest_waiting_seconds", "How long the oldest message received has waited for its answer."
)
WAITING = Gauge("gatemeter_ingest_waiting_messages", "Messages received and not yet answered.")
INTERNAL_ERRORS = Counter("gatemeter_ingest_internal_errors", "Messages set aside because this software fails on them.")
DROPPED = Counter("gatemeter_ingest_dropped_messages", "Messages not queued because too many wait; they are resent.")
SESSIONS = Counter("gatemeter_ingest_sessions", "Sessions with the broker.")
COMMANDS = Counter("gatemeter_ingest_commands", "Commands handed to the broker.")
