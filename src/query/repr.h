/* Python's repr() of a JSON value: the older service put it into its error texts ({'type': 'count'}, True, None), and its users
 * know them in that form. Pure; any thread. */
#ifndef TT_QUERY_REPR_H
#define TT_QUERY_REPR_H

#include <jansson.h>

#include "base/buf.h"

/* Appended to out. value may be NULL (None). Texts are cut where out has a limit. */
void tt_py_repr(const json_t *value, tt_buf *out);
/* A string as repr shows it: in single quotes, or in double ones when it holds single ones only. */
void tt_py_repr_str(tt_str text, tt_buf *out);
/* The shortest decimal that reads back as the same double, as Python prints it: 5.0, 1e+16, 1e-05, nan, inf. */
void tt_py_float(double value, tt_buf *out);

#endif
