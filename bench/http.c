#include "http.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct framing {
  int status;
  size_t length_bytes;
  bool chunked;
  bool until_close;
} framing;

bool bench_http_open(bench_http *http, const struct sockaddr_in *address)
{
  *http = (bench_http){.address = *address};
  return bench_net_open(&http->net, address);
}

void bench_http_close(bench_http *http)
{
  bench_net_close(&http->net);
  bench_buf_free(&http->chunks);
}

static const char *header_value(const char *line, const char *name)
{
  size_t size = strlen(name);
  if (strncasecmp(line, name, size) != 0 || line[size] != ':')
    return NULL;
  line += size + 1;
  return line + strspn(line, " \t");
}

static bool read_head(bench_http *http, framing *ret_framing)
{
  char *line = bench_net_line(&http->net);
  if (!line || strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12)
    return false;
  framing frame = {.status = (int)strtol(line + 9, NULL, 10), .until_close = true};
  http->closing = line[7] == '0';
  while ((line = bench_net_line(&http->net)) && *line) {
    const char *value;
    if ((value = header_value(line, "content-length"))) {
      frame.length_bytes = strtoull(value, NULL, 10);
      frame.until_close = false;
    } else if ((value = header_value(line, "transfer-encoding"))) {
      frame.chunked = strcasecmp(value, "chunked") == 0;
    } else if ((value = header_value(line, "connection"))) {
      http->closing = strcasecmp(value, "close") == 0;
    }
  }
  *ret_framing = frame;
  return line && (frame.chunked || !frame.until_close);
}

static bool read_chunks(bench_http *http, bench_answer *answer)
{
  bench_buf_clear(&http->chunks);
  for (;;) {
    char *line = bench_net_line(&http->net);
    if (!line)
      return false;
    size_t size = strtoull(line, NULL, 16);
    if (size == 0)
      break;
    char *data = bench_net_bytes(&http->net, size + 2);
    if (!data)
      return false;
    bench_buf_add(&http->chunks, data, size);
  }
  char *trailer;
  while ((trailer = bench_net_line(&http->net)) && *trailer)
    ;
  answer->body = http->chunks.data;
  answer->body_bytes = http->chunks.size_bytes;
  return trailer != NULL;
}

static bool reopen(bench_http *http)
{
  bench_net_close(&http->net);
  http->closing = false;
  return bench_net_open(&http->net, &http->address);
}

bool bench_http_exchange(bench_http *http, const bench_buf *head, const char *body, size_t body_bytes,
                         bench_answer *ret_answer)
{
  bench_buf kept = {0};
  if (http->closing) {
    // The body may lie in the connection's buffer, which a new connection does not keep.
    if (body)
      bench_buf_add(&kept, body, body_bytes);
    if (!reopen(http)) {
      bench_buf_free(&kept);
      return false;
    }
    body = kept.data;
  }
  struct iovec parts[2] = {{head->data, head->size_bytes}, {(void *)(uintptr_t)body, body_bytes}};
  bool sent = bench_net_send(&http->net, parts, body ? 2 : 1);
  bench_buf_free(&kept);

  framing frame;
  if (!sent || !read_head(http, &frame))
    return false;
  *ret_answer = (bench_answer){.status = frame.status, .body_bytes = frame.length_bytes};
  if (frame.chunked)
    return read_chunks(http, ret_answer);
  ret_answer->body = bench_net_bytes(&http->net, frame.length_bytes);
  return ret_answer->body != NULL;
}
