"""SQL of readings that cannot be used, by the device they came from."""

from typing import LiteralString

# Refused by the derivation: when they were taken tells the device that was on the meter then. Without a place: when
# they came. What staff left out is not counted, nor what was typed in for a meter without a device. An index leads from
# each meter to its refusals.
UNUSABLE: LiteralString = """
    WITH refused AS (
        SELECT d.id AS device_id, g.code AS gateway_code, d.code AS device_code, e.meter_id, e.channel,
               e.code, e.taken_at AS at
        FROM device_binding b
        JOIN device d ON d.id = b.device_id
        JOIN gateway g ON g.id = d.gateway_id
        JOIN refused_reading e ON e.meter_id = b.meter_id AND e.taken_at >= lower(b.valid)
         AND (upper_inf(b.valid) OR e.taken_at < upper(b.valid))
        WHERE (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s)
          AND e.taken_at >= %(week)s AND e.code = ANY (%(codes)s::smallint[])
          AND (%(device_id)s::bigint IS NULL OR d.id = %(device_id)s)),
    astray AS (
        SELECT d.id AS device_id, u.gateway_code, u.device_code, u.reason, u.received_at AS at
        FROM unclaimed_reading u
        LEFT JOIN gateway g ON g.project_id = u.project_id AND g.code = u.gateway_code
        LEFT JOIN device d ON d.gateway_id = g.id AND d.code = u.device_code
        WHERE (%(project_id)s::bigint IS NULL OR u.project_id = %(project_id)s)
          AND u.received_at >= %(week)s AND u.decision_id IS NULL
          AND (%(device_id)s::bigint IS NULL OR d.id = %(device_id)s)),
    counted AS (
        SELECT device_id, gateway_code, device_code, max(meter_id) AS meter_id,
               (%(rules)s::text[])[array_position(%(codes)s::smallint[], code)] AS reason, true AS stored,
               count(*) FILTER (WHERE at >= %(day)s) AS day_count, count(*) AS week_count, max(at) AS last_at
        FROM refused GROUP BY device_id, gateway_code, device_code, code
        UNION ALL
        SELECT device_id, gateway_code, device_code, NULL, reason, false, count(*) FILTER (WHERE at >= %(day)s),
               count(*), max(at)
        FROM astray GROUP BY device_id, gateway_code, device_code, reason)
    SELECT device_id, gateway_code, device_code, meter_id, reason, stored, day_count, week_count, last_at FROM counted
    WHERE (-week_count, gateway_code, device_code, reason, stored::text)
          > (-%(after_count)s::bigint, %(after_gateway)s, %(after_device)s, %(after_reason)s, %(after_stored)s)
    ORDER BY week_count DESC, gateway_code, device_code, reason, stored::text LIMIT %(limit)s
"""
