/* The definition of a pipeline: a plain struct. A pipeline belongs to a brand of a company; its states are in an order; each holds
 * transformations, and those with the same order run side by side. A transformation is a template (a program, and the name of the data set that
 * it puts out) with values for the variables that the template declares.
 *
 * Definitions come from the configuration's rows or from a YAML file (definition_file.h), and a run keeps the one that it started with. All that a
 * definition points to lies in its arena; it is made by one thread, and then read by any. */
#ifndef TT_PIPELINE_DEFINITION_H
#define TT_PIPELINE_DEFINITION_H

#include <jansson.h>

#include "base/mem.h"

/* Types of variables. Names and what they take are a table in definition.c; to add one: a row there. */
typedef enum {
    TT_VARIABLE_TEXT, TT_VARIABLE_INT, TT_VARIABLE_FLOAT, TT_VARIABLE_BOOL, TT_VARIABLE_DATETIME, TT_VARIABLE_LIST, TT_VARIABLE_MAP, TT_VARIABLE_ENUM,
    TT_VARIABLE_SECRET, /* a reference to a secret, never its value */
    TT_VARIABLE_TYPES
} tt_variable_type;
/* "text", ...; never NULL. */
const char *tt_variable_type_name(tt_variable_type t);
/* Any spelling that is known ("string", "number", ...), in any case. False: unknown. */
bool tt_variable_type_find(tt_str name, tt_variable_type *ret);

/* What a template says about one of its variables. */
typedef struct {
    tt_str name;
    tt_variable_type type;
    bool optional;           /* may be absent */
    tt_str fallback;         /* JSON of the type; empty: none */
    tt_str description;      /* may be empty */
    const tt_str *choices;   /* of an enum */
    size_t choice_count;
} tt_variable_rule;

/* A value, as JSON in one line. */
typedef struct { tt_str name, json; } tt_variable;

/* How and where something runs; what is 0 or empty is as the next level says (transformation, template, pipeline, the program's own). */
typedef struct {
    tt_str executor, queue, image;
    double cpu;
    int64_t memory_mb, timeout_s;
    int64_t retries;         /* further attempts; negative: not said */
    int64_t retry_delay_s;   /* before the second attempt, doubled each time; negative: not said */
    const tt_variable *env;  /* texts */
    size_t env_count;
} tt_needs;

typedef struct {
    tt_str name;             /* of the program and of the data set */
    tt_str state;            /* the state in which it is allowed; empty: any */
    tt_str description;
    const tt_str *tags;
    size_t tag_count;
    bool declares;           /* it says which variables there are; false: whatever the program takes */
    const tt_variable_rule *rules;
    size_t rule_count;
    tt_needs needs;
    int64_t id;              /* of its row; 0: it has none */
} tt_template;

typedef struct {
    tt_str name;             /* unique in the pipeline */
    int64_t id;              /* unique in the pipeline; of its row, or its place in the file from 1 */
    tt_str template_name;
    int64_t order;           /* graph_order: equal ones run side by side */
    const tt_variable *variables;
    size_t variable_count;
    tt_needs needs;
} tt_transformation;

typedef struct {
    tt_str name;             /* of its type: raw, ingest, ... */
    int64_t order;           /* graph_order, unique in the pipeline */
    int64_t id;              /* of its row; 0: it has none */
    const tt_transformation *transformations;
    size_t count;
} tt_pipeline_state;

typedef struct {
    tt_str frequency;        /* hourly ... yearly, none, cron, a rule, a phrase; empty is none */
    tt_str zone;             /* empty: UTC */
    tt_str missed;           /* latest (empty), all, skip */
} tt_pipeline_schedule;

typedef struct {
    tt_arena arena;
    tt_str name;             /* unique; the id of the DAG */
    int64_t id;              /* of its row; 0: it has none */
    tt_str company, brand, branch; /* parent and child in the lake's paths; branch empty: as the environment says */
    tt_str type, segment;    /* grouping; may be empty */
    tt_str description;
    bool is_active;
    tt_pipeline_schedule schedule;
    int64_t max_runs;        /* at the same time; 0: 1 */
    int64_t max_tasks;       /* of one run, at the same time; 0: any number */
    tt_needs needs;
    const tt_pipeline_state *states;
    size_t state_count;
    const tt_template *templates; /* those that its transformations name and that say something */
    size_t template_count;
} tt_pipeline;

enum { TT_PIPELINE_NAME_BYTES = 128, TT_PIPELINE_MOST_STATES = 1000, TT_PIPELINE_MOST_TRANSFORMATIONS = 200000, TT_PIPELINE_MOST_VARIABLES = 2000 };

tt_pipeline *tt_pipeline_new(void);
void tt_pipeline_free(tt_pipeline *d); /* NULL is fine */
#define TT_PIPELINE_AUTO __attribute__((cleanup(tt_pipeline_cleanup)))
static inline void tt_pipeline_cleanup(tt_pipeline **d) { tt_pipeline_free(*d); }

/* NULL when it is not there. */
const tt_template *tt_pipeline_template(const tt_pipeline *d, tt_str name);
/* By name or number; *ret_state may be NULL. NULL when it is not there. */
const tt_transformation *tt_pipeline_find(const tt_pipeline *d, tt_str name, const tt_pipeline_state **ret_state);
size_t tt_pipeline_count(const tt_pipeline *d); /* of transformations */

/* Letters, digits and - _ . ! * ( ) =, 1 to 128 of them, not `.` or `..`: what may stand in a path of the lake. what: "the pipeline's name". */
tt_rc tt_pipeline_name_check(const char *what, tt_str name, tt_err *err) TT_MUST_CHECK;

/* Whether it can run: names, orders, numbers, variables. TT_INVALID names the state and transformation, and the mistake. What
 * reads definitions calls it; whoever makes one from rows does too. */
tt_rc tt_pipeline_check(const tt_pipeline *d, tt_err *err) TT_MUST_CHECK;
/* The same; *ret_state and *ret_transformation (indices, -1: none) say where the mistake is. */
tt_rc tt_pipeline_check_at(const tt_pipeline *d, ptrdiff_t *ret_state, ptrdiff_t *ret_transformation, tt_err *err) TT_MUST_CHECK;
/* A value for a variable as the type has it: texts of other types are converted (`5`, `true`, `2026-01-31 12:00:00`, `a,b` stays a mistake). json is JSON;
 * *ret in the arena. TT_INVALID says what is wrong with it, without the variable's name. */
tt_rc tt_variable_convert(const tt_variable_rule *rule, tt_str json, tt_arena *arena, tt_str *ret, tt_err *err) TT_MUST_CHECK;
/* The variables of a transformation with defaults filled in, as the program gets them: an object of typed values. *ret is a new reference. TT_INVALID
 * names variable and transformation: one that is missing, extra or ill-typed. */
tt_rc tt_pipeline_variables(const tt_pipeline *d, const tt_transformation *t, json_t **ret, tt_err *err) TT_MUST_CHECK;

#endif
