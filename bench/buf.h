// A growing byte buffer for requests that the load clients assemble. One thread, the owner frees with bench_buf_free.
// Running out of memory ends the benchmark: there is nothing to measure then.
#ifndef BENCH_BUF_H
#define BENCH_BUF_H

#include <stddef.h>

typedef struct bench_buf {
  char *data;
  size_t size_bytes;
  size_t capacity_bytes;
} bench_buf;

void bench_buf_add(bench_buf *buf, const void *data, size_t size_bytes);
void bench_buf_printf(bench_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bench_buf_clear(bench_buf *buf);
void bench_buf_free(bench_buf *buf);

#endif
