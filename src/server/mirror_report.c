/* What /metrics and /health say of the Redis mirror. */
#include <inttypes.h>

#include "items/mirror.h"
#include "server/items_calls.h"

static const struct {
    const char *name, *type, *help;
    size_t offset;
} mirror_rows[] = {
    {"tutti_mirror_waiting_jobs", "gauge", "Jobs with changes that Redis does not show yet", offsetof(tt_mirror_status, waiting_jobs)},
    {"tutti_mirror_keys_written", "counter", "Keys written and deleted in Redis", offsetof(tt_mirror_status, keys_written)},
    {"tutti_mirror_refills", "counter", "How often Redis had to be filled again", offsetof(tt_mirror_status, refills)},
    {"tutti_mirror_deletions_honoured", "counter", "Items handed out again because their keys were deleted", offsetof(tt_mirror_status, deletions_honoured)},
    {"tutti_mirror_connections", "counter", "Connections to Redis since the start", offsetof(tt_mirror_status, reconnects)},
};

void tt_mirror_write_metrics(tt_mirror *mirror, tt_buf *out)
{
    tt_mirror_status s;
    tt_mirror_get_status(mirror, &s);
    tt_buf_printf(out, "# HELP tutti_mirror_online Redis answers.\n# TYPE tutti_mirror_online gauge\ntutti_mirror_online %d\n", s.online);
    tt_buf_printf(out, "# HELP tutti_mirror_stale Redis does not show what the ledger says.\n# TYPE tutti_mirror_stale gauge\ntutti_mirror_stale %d\n", s.stale);
    tt_buf_printf(out, "# HELP tutti_mirror_lag_seconds Age of the oldest change that Redis does not show.\n# TYPE tutti_mirror_lag_seconds gauge\n"
                  "tutti_mirror_lag_seconds %.3f\n", (double)s.lag_ms / 1000);
    for (size_t i = 0; i < TT_COUNT(mirror_rows); i++)
        tt_buf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n%s%s %" PRIu64 "\n", mirror_rows[i].name, mirror_rows[i].help, mirror_rows[i].name,
                      mirror_rows[i].type, mirror_rows[i].name, strcmp(mirror_rows[i].type, "counter") == 0 ? "_total" : "",
                      *(const uint64_t *)(const void *)((const char *)&s + mirror_rows[i].offset));
}

void tt_mirror_add_health(tt_mirror *mirror, json_t *object)
{
    tt_mirror_status s;
    tt_mirror_get_status(mirror, &s);
    json_object_set_new(object, "Redis status", json_string(s.online ? "Online" : "Offline"));
    json_object_set_new(object, "redis", json_pack("{s:s,s:b,s:b,s:I,s:I,s:I,s:s,s:b,s:s,s:I,s:I,s:s,s:s}", "address", s.shown, "online", s.online, "stale", s.stale,
                                                   "lag_ms", (json_int_t)s.lag_ms, "checked_ms", (json_int_t)s.checked_ms, "waiting_jobs", (json_int_t)s.waiting_jobs, "version", s.version,
                                                   "appendonly", s.is_appending, "eviction", s.eviction, "refills", (json_int_t)s.refills,
                                                   "deletions_honoured", (json_int_t)s.deletions_honoured, "warning", s.warning, "last_failure", s.last_failure));
}
