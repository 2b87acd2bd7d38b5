/* The planner's moving view of a source: bytes in order, as much as it asks for, nothing read twice. One thread. */
#ifndef TT_DATA_WINDOW_H
#define TT_DATA_WINDOW_H

#include "io/source.h"

typedef struct {
    tt_source *source;
    char *bytes;  /* len of them, of the file from offset `at` on */
    size_t len, cap;
    size_t pos;   /* what stands before it is done with */
    uint64_t at;
    bool eof;     /* bytes reach the end of the file */
} tt_window;

void tt_window_deinit(tt_window *w);
/* pos stands at this offset of source; bytes that are already here stay. */
void tt_window_seek(tt_window *w, tt_source *source, uint64_t offset);
/* Drop what is done with and read on until room bytes from pos on are here, or the file ends. */
tt_rc tt_window_fill(tt_window *w, size_t room, tt_err *err) TT_MUST_CHECK;

/* On to behind the next line end, or to the end of the file, however far that is; room bytes are held at most. */
tt_rc tt_window_to_next_line(tt_window *w, size_t room, tt_err *err) TT_MUST_CHECK;

static inline const char *tt_window_start(const tt_window *w) { return w->bytes + w->pos; }
static inline const char *tt_window_end(const tt_window *w) { return w->bytes + w->len; }
static inline size_t tt_window_left(const tt_window *w) { return w->len - w->pos; }
static inline uint64_t tt_window_offset(const tt_window *w) { return w->at + w->pos; }

#endif
