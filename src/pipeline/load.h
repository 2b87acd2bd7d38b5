/* Definitions from rows. What is loaded is as it stands in the database: whoever wants to run it checks it (tt_pipeline_check). One thread, as the
 * connection. */
#ifndef TT_PIPELINE_LOAD_H
#define TT_PIPELINE_LOAD_H

#include "pipeline/config_db.h"
#include "pipeline/definition.h"

/* TT_NOT_FOUND: there is none. TT_INVALID: a template's variable_structures cannot be understood. */
tt_rc tt_pipeline_load(tt_config_db *db, tt_str name, tt_pipeline **ret, tt_err *err) TT_MUST_CHECK;
/* Every one, in the order of their ids; fn does not keep p. A failure of fn ends it. */
tt_rc tt_pipeline_load_all(tt_config_db *db, tt_rc (*fn)(void *arg, const tt_pipeline *p, tt_err *err), void *arg, tt_err *err) TT_MUST_CHECK;
/* The one that a transformation belongs to, by its id. */
tt_rc tt_pipeline_load_of(tt_config_db *db, int64_t transformation_id, tt_pipeline **ret, tt_err *err) TT_MUST_CHECK;

/* A template as its row has it, in the arena, with its tags. TT_NOT_FOUND: there is none. */
tt_rc tt_template_load(tt_config_db *db, tt_str name, tt_arena *arena, tt_template *ret, tt_err *err) TT_MUST_CHECK;

/* How values and rules stand in rows. A value is text where its type is (text, enum, secret, datetime), else JSON; where nothing says the type, a text that
 * would read as JSON is quoted. Pure. */
tt_rc tt_value_of_text(const tt_variable_rule *rule /* NULL: none */, tt_str text, tt_arena *arena, tt_str *ret_json, tt_err *err) TT_MUST_CHECK;
void tt_value_put_text(const tt_variable_rule *rule, tt_str json, tt_buf *out);
tt_rc tt_rules_of_text(tt_str structures, tt_arena *arena, tt_template *into, tt_err *err) TT_MUST_CHECK;
void tt_rules_put_text(const tt_template *t, tt_buf *out);

#endif
