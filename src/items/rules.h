/* How a job hands out: settings that its start gave, beside its files. They live in the job's metadata, from which they are read each time the job
 * is opened. To add one: a row in rules.c, one in the table of members in server/jobs_routes.c, and a flag in main.c. */
#ifndef TT_ITEMS_RULES_H
#define TT_ITEMS_RULES_H

#include <jansson.h>

#include "base/err.h"

enum { TT_RULES_MAX_OVERLAP = 16 };

typedef struct {
    double rate_per_s;      /* items handed out at most; 0: any number */
    char rate_text[32];     /* as it was given */
    uint64_t max_in_flight; /* 0: any number */
    uint32_t overlap;       /* answers per item, from different workers; 0 and 1: one, from anybody */
    char *key;              /* the column that orders items; NULL: none */
    int priority;           /* among jobs, for claims that name none */
} tt_rules;

void tt_rules_deinit(tt_rules *r);
bool tt_rules_knows(const char *member);
/* One member of the metadata that tt_rules_knows. */
tt_rc tt_rules_read(tt_rules *r, const char *member, const json_t *value, tt_err *err) TT_MUST_CHECK;
/* Whether they go together, and with a job that hands out and takes in (or not). */
tt_rc tt_rules_check(const tt_rules *r, bool hands_out, bool takes_in, tt_err *err) TT_MUST_CHECK;
/* All members that metadata (of a job that is there) has. */
tt_rc tt_rules_parse(tt_rules *r, const char *metadata, tt_err *err) TT_MUST_CHECK;

#endif
