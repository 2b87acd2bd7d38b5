/* Inside of the sinks: what sink.c and the rows of its table share. Nobody else includes this. */
#ifndef TT_DATA_SINK_IMPL_H
#define TT_DATA_SINK_IMPL_H

#include "data/sink.h"

struct tt_sink {
    const tt_sink_row *row;
    tt_sink_spec spec;
    void *own; /* the row's */
    bool interrupted; /* atomic */
};

extern const tt_sink_row tt_sink_sql, tt_sink_command, tt_sink_plain, tt_sink_packed, tt_sink_ordered, tt_sink_parquet;

#endif
