/* What a repair (start with `cont`) may change of a job that is there: how it hands out, from then on. What decides how its input is read or its output is
 * written stays as it is, and naming it otherwise is refused. A member that is not given, or null, stays. Under items->admin; the definition of the
 * request was read before, so its members are sound by themselves. */
#ifndef TT_ITEMS_AMEND_H
#define TT_ITEMS_AMEND_H

#include "items/definition.h"

/* The new settings of a definition, ready to be put in its place. */
typedef struct {
    char *metadata;
    tt_rules rules;
    int64_t lease_ms;
    unsigned max_attempts;
    bool changes; /* else there is nothing to do */
} tt_amendment;

/* given: of the request. TT_CONFLICT names the member that cannot change. */
tt_rc tt_amend(const tt_definition *old, const tt_definition *given, tt_amendment *ret, tt_err *err) TT_MUST_CHECK;
/* With the lock of the job whose definition d is, and nobody using its metadata. */
void tt_amendment_apply(tt_amendment *a, tt_definition *d);
void tt_amendment_deinit(tt_amendment *a);

#endif
