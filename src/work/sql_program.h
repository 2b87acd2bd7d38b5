/* Programs that are SQL files: NAME.sql is run as one transaction on the database that its setting `database` names. `:name` in a statement is a setting, and is
 * given to the database as a parameter, never as text. Comment lines at the beginning say more about it:
 *
 *     -- Orders of a day.                            the description
 *     -- database: sqlite:///shop.db                 a default
 *     -- day: datetime                               the type of a setting: text, int, float, bool, datetime
 *     -- most: int = 100                             and its default
 *
 * The rows of the last query are records when `storage` says where they go; otherwise the first 100 are in the result. They run in the process of C programs
 * (program_host.h); what is loaded lives until the next load. That process only; one thread. */
#ifndef TT_WORK_SQL_PROGRAM_H
#define TT_WORK_SQL_PROGRAM_H

#include "base/str.h"
#include "tutti/program.h"

/* NULL: it cannot be read or understood, and standard error says why. */
const tutti_program *tt_sql_program_load(const char *path);

/* ---- for tests and fuzzing ---- */

enum { TT_SQL_PROGRAM_SETTINGS = 100, TT_SQL_PROGRAM_PARAMS = 500 };

/* The next statement, without its `;` and what is blank around it; false: no more. Quotes, comments and dollar quotes are passed over. */
bool tt_sql_cut(tt_str *rest, tt_str *ret_statement);
/* The next `:name` at or after *at: its name, and where it begins and ends. False: no more. */
bool tt_sql_param(tt_str statement, size_t *at, tt_str *ret_name, size_t *ret_from);

#endif
