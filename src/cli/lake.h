/* What the verbs of `tutti lake` start with: the lake, and where contracts are that do not say it. */
#ifndef TT_CLI_LAKE_H
#define TT_CLI_LAKE_H

#include "cli/cli.h"
#include "lake/contract.h"
#include "lake/store.h"

typedef struct {
    tt_cli *cli;
    tt_arena *arena;
    tt_options *options;
    tt_store *store;
    tt_contract_home home;
} tt_cli_lake;

tt_rc tt_cli_with_lake(tt_cli *cli, tt_rc (*fn)(tt_cli_lake *l, tt_err *err), tt_err *err) TT_MUST_CHECK;
/* The first operand. */
tt_rc tt_cli_contract(tt_cli_lake *l, tt_contract *ret, tt_err *err) TT_MUST_CHECK;
/* `"name":"value"` inside an object, with a comma in front where one is needed. */
void tt_cli_put_member(tt_buf *out, const char *name, tt_str value);

#endif
