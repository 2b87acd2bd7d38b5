// A blocking TCP connection with one growing read buffer, for the load clients.
//
// Why: a benchmark's client must cost as little as it can, so answers are parsed where they were read and requests go
// out with one writev.
// Threads: a connection belongs to one thread. Ownership: bench_net_open allocates, bench_net_close frees.
// A pointer that bench_net_line or bench_net_bytes gave is valid until the next call of either.
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

typedef struct bench_net {
  int fd;
  char *data;
  size_t capacity_bytes;
  size_t start;
  size_t end;
} bench_net;

// Parses "127.0.0.1:5005". False when it is not an IPv4 address and a port.
bool bench_net_parse(const char *text, struct sockaddr_in *ret_address);

// Connects with TCP_NODELAY. False with errno set.
bool bench_net_open(bench_net *net, const struct sockaddr_in *address);
void bench_net_close(bench_net *net);

// Sends every byte of the parts; changes the parts. False with errno set.
bool bench_net_send(bench_net *net, struct iovec *parts, int part_count);

// The next line without its CR LF, NUL-terminated in place; NULL at the end of the stream or on an error.
char *bench_net_line(bench_net *net);

// The next size_bytes bytes, in one piece; NULL at the end of the stream or on an error.
char *bench_net_bytes(bench_net *net, size_t size_bytes);

#endif
