/* JSON as the older query service writes it: keys sorted, ASCII, numbers as Python prints them, one line feed at the end. */
#ifndef TT_QUERY_WIRE_H
#define TT_QUERY_WIRE_H

#include <jansson.h>

#include "base/buf.h"

typedef enum {
    TT_WIRE_PRETTY,  /* indented by 2 */
    TT_WIRE_COMPACT, /* no blanks */
    TT_WIRE_LINE,    /* one line, a blank behind each comma and colon: of streams */
} tt_wire_style;

void tt_wire_put(const json_t *value, tt_wire_style style, tt_buf *out);
/* Drops members that are null or an empty object, in this object and in objects that stand directly in objects; lists stay as they are. */
void tt_wire_prune(json_t *object);

#endif
