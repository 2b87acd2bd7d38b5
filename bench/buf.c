#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(bench_buf *buf, size_t more_bytes)
{
  size_t wanted = buf->size_bytes + more_bytes;
  if (wanted <= buf->capacity_bytes)
    return;
  size_t capacity = buf->capacity_bytes ? buf->capacity_bytes : 4096;
  while (capacity < wanted)
    capacity *= 2;
  buf->data = realloc(buf->data, capacity);
  if (!buf->data) {
    fprintf(stderr, "bench: out of memory\n");
    exit(1);
  }
  buf->capacity_bytes = capacity;
}

void bench_buf_add(bench_buf *buf, const void *data, size_t size_bytes)
{
  reserve(buf, size_bytes);
  memcpy(buf->data + buf->size_bytes, data, size_bytes);
  buf->size_bytes += size_bytes;
}

void bench_buf_printf(bench_buf *buf, const char *format, ...)
{
  char text[1024];
  va_list args;
  va_start(args, format);
  int size = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (size < 0 || (size_t)size >= sizeof text) {
    fprintf(stderr, "bench: a request line is too long\n");
    exit(1);
  }
  bench_buf_add(buf, text, (size_t)size);
}

void bench_buf_clear(bench_buf *buf)
{
  buf->size_bytes = 0;
}

void bench_buf_free(bench_buf *buf)
{
  free(buf->data);
  *buf = (bench_buf){0};
}
