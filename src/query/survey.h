/* What a registration wants to know of one part: its columns, their types, bounds and commonest values, and whether it has a group and a time in each row.
 * Strings are read as far as it takes; bounds come from the footer where it has them. Foreign bytes: in a query worker. One thread. */
#ifndef TT_QUERY_SURVEY_H
#define TT_QUERY_SURVEY_H

#include <jansson.h>

#include "data/parquet/parquet.h"
#include "query/columns.h"

typedef struct {
    tt_str group, time;      /* columns */
    const json_t *given;     /* {column: type in words}: see tt_survey_check_type; NULL: none */
    double categorical_ratio;/* at most so many different values per row make a category */
    size_t top_count;        /* commonest values kept of each category; 0: none */
    bool footer_only;        /* types and times, nothing is read */
    bool (*is_stopped)(void *arg); /* asked now and then; may be NULL */
    void *arg;
} tt_survey_spec;

/* A type that can be given to a column: "category", "string", "int", "float", "bool", "list" (also "list[;]": text that is cut there), "datetime" (also
 * "datetime[ms]": what whole numbers in it count). */
bool tt_survey_check_type(tt_str type);
/* {"rows", "columns": packed (dataset.h), "schema": {name: {name, dtypeName, coltype, colattrs}}, "unsupported": {name: dtype}, "minTime", "maxTime",
 * "rowGroups", "plainText": text columns that are no dictionaries all through, "nested": columns of lists in lists}; the texts of failures are the older service's. */
tt_rc tt_survey_part(const tt_pq_file *file, const tt_survey_spec *spec, json_t **ret, tt_err *err) TT_MUST_CHECK;

#endif
