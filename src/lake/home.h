/* Where contracts are that do not name an environment and a branch: what the settings say, else what the machine shows. In dev the branch is the one that
 * git has checked out where the process stands, so that nobody writes into another one's data by accident; behind dev it is the environment.
 * A task of a run finds its own parent and child in its environment. */
#ifndef TT_LAKE_HOME_H
#define TT_LAKE_HOME_H

#include "lake/contract.h"

/* env, branch: the settings; branch empty: found out. The result lives in arena. */
tt_rc tt_contract_home_find(tt_str env, tt_str branch, tt_arena *arena, tt_contract_home *ret, tt_err *err) TT_MUST_CHECK;

/* Which run it is whose data is made, and when it began (microseconds, UTC): TUTTI_RUN_ID and TUTTI_RUN_TIMESTAMP, as a task of a run has them; else a new number of
 * six digits, and now. */
tt_rc tt_lake_own_run(int64_t *ret_run, tt_err *err) TT_MUST_CHECK;
tt_rc tt_lake_own_time(int64_t *ret_us, tt_err *err) TT_MUST_CHECK;

#endif
