// The least HTTP/1.1 client that a keep-alive benchmark needs: one request, one answer, Content-Length or chunked.
// A client belongs to one thread. The answer's body is valid until the next exchange on the same client, and may be
// sent back as the body of a request before that.
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include "buf.h"
#include "net.h"

typedef struct bench_http {
  bench_net net;
  struct sockaddr_in address;
  bench_buf chunks;
  bool closing;
} bench_http;

typedef struct bench_answer {
  int status;
  const char *body;
  size_t body_bytes;
} bench_answer;

bool bench_http_open(bench_http *http, const struct sockaddr_in *address);
void bench_http_close(bench_http *http);

// Sends head and body, waits for the whole answer. `head` ends with its blank line; `body` may be NULL.
// False when the connection broke or the answer is not HTTP. Reconnects first when the last answer closed.
bool bench_http_exchange(bench_http *http, const bench_buf *head, const char *body, size_t body_bytes,
                         bench_answer *ret_answer);

#endif
