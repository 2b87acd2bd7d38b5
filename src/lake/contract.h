/* A contract: the place of data in the lake, as a typed path
 *
 *     {env}/{branch}/{parent}/{child}/{state}/{dataset}/{partition}/{file}
 *
 * env is dev, uat or prod; parent and child are who the data belongs to (customer and brand are other names for them); state is one of seven, in their order.
 * It has three forms: a state (`dev/main/acme/widget/ingest/`), a file of the raw state (`.../raw/list.csv`), and a dataset (`.../ingest/patients`), whose name may
 * have several parts. env and branch may be left out: they are then what the machine is set to. Parts are names that no file system, URL or Hive path can
 * misread; parent, child and branch are in lower case. What follows a dataset in directories is partitions, `name=value` (hive.h).
 *
 * Values in the caller's arena; pure functions, any thread. */
#ifndef TT_LAKE_CONTRACT_H
#define TT_LAKE_CONTRACT_H

#include "base/buf.h"
#include "base/mem.h"

typedef enum { TT_CONTRACT_STATE, TT_CONTRACT_RAW, TT_CONTRACT_DATASET } tt_contract_form;

typedef struct {
    tt_contract_form form;
    tt_str env, branch, parent, child, state;
    tt_str dataset;   /* "patients", "list/2026/a.csv"; empty of the other forms */
    tt_str file;      /* of the raw form: the name; empty: all files of the state */
} tt_contract;

/* Where contracts that do not say it are. */
typedef struct {
    tt_str env, branch;
    tt_str parent, child; /* of the task that runs; empty: none, and contracts name them */
} tt_contract_home;

/* text: `env/branch/parent/child/state[/...]`, `parent/child/state[/...]`, or, where home has a parent and a child, `state[/...]`. TT_INVALID says which part is wrong and why. */
tt_rc tt_contract_parse(tt_str text, const tt_contract_home *home, tt_arena *arena, tt_contract *ret, tt_err *err) TT_MUST_CHECK;
/* Below the lake, without a slash in front or at the end. */
void tt_contract_put_path(const tt_contract *c, tt_buf *out);
const char *tt_contract_form_name(tt_contract_form form);

/* The word for an environment: dev for `dev` and `development` in any case, ...; TT_INVALID: it is none. */
tt_rc tt_contract_env(tt_str word, tt_str *ret, tt_err *err) TT_MUST_CHECK;
/* The branch as a part: lower case, `/` becomes `-`. Checked; in dev the names that belong to everybody (main, master, ...) are refused. */
tt_rc tt_contract_branch(tt_str env, tt_str name, tt_arena *arena, tt_str *ret, tt_err *err) TT_MUST_CHECK;

/* The states in their order; NULL: no more. */
const char *tt_contract_state_at(size_t i);
/* The state before (-1) and behind (1) another; ptr NULL: there is none. */
tt_str tt_contract_neighbour(tt_str state, int step);

/* A part of a path that means nothing else anywhere. what: for the sentence, "the parent". */
tt_rc tt_contract_check_part(const char *what, tt_str part, tt_err *err) TT_MUST_CHECK;

#endif
