#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_CAPACITY_BYTES = 1 << 20 };

bool bench_net_parse(const char *text, struct sockaddr_in *ret_address)
{
  const char *colon = strrchr(text, ':');
  char host[64];
  if (!colon || (size_t)(colon - text) >= sizeof host)
    return false;
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = '\0';

  char *end = NULL;
  unsigned long port = strtoul(colon + 1, &end, 10);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (end == colon + 1 || *end || port == 0 || port > 65535 || inet_pton(AF_INET, host, &address.sin_addr) != 1)
    return false;
  *ret_address = address;
  return true;
}

bool bench_net_open(bench_net *net, const struct sockaddr_in *address)
{
  *net = (bench_net){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (net->fd < 0)
    return false;
  int one = 1;
  net->data = malloc(FIRST_CAPACITY_BYTES);
  net->capacity_bytes = FIRST_CAPACITY_BYTES;
  if (net->data && setsockopt(net->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
      connect(net->fd, (const struct sockaddr *)address, sizeof *address) == 0)
    return true;

  int saved = errno;
  bench_net_close(net);
  errno = saved;
  return false;
}

void bench_net_close(bench_net *net)
{
  if (net->fd >= 0)
    close(net->fd);
  free(net->data);
  *net = (bench_net){.fd = -1};
}

bool bench_net_send(bench_net *net, struct iovec *parts, int part_count)
{
  while (part_count > 0) {
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)part_count};
    ssize_t sent = sendmsg(net->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return false;
    size_t left = (size_t)sent;
    while (part_count > 0 && left >= parts->iov_len) {
      left -= parts->iov_len;
      parts++;
      part_count--;
    }
    if (part_count > 0) {
      parts->iov_base = (char *)parts->iov_base + left;
      parts->iov_len -= left;
    }
  }
  return true;
}

// Makes room for at least one more byte behind `end`, then reads as much as fits.
static bool fill(bench_net *net, size_t wanted_bytes)
{
  size_t held = net->end - net->start;
  if (net->start > 0 && (held == 0 || net->start + wanted_bytes > net->capacity_bytes)) {
    memmove(net->data, net->data + net->start, held);
    net->start = 0;
    net->end = held;
  }
  if (wanted_bytes > net->capacity_bytes || net->end == net->capacity_bytes) {
    size_t capacity = net->capacity_bytes * 2 > wanted_bytes ? net->capacity_bytes * 2 : wanted_bytes;
    char *data = realloc(net->data, capacity);
    if (!data)
      return false;
    net->data = data;
    net->capacity_bytes = capacity;
  }
  for (;;) {
    ssize_t got = read(net->fd, net->data + net->end, net->capacity_bytes - net->end);
    if (got > 0) {
      net->end += (size_t)got;
      return true;
    }
    if (got == 0 || errno != EINTR)
      return false;
  }
}

char *bench_net_line(bench_net *net)
{
  size_t seen = 0;
  for (;;) {
    char *from = net->data + net->start;
    size_t held = net->end - net->start;
    char *feed = memchr(from + seen, '\n', held - seen);
    if (feed) {
      net->start += (size_t)(feed - from) + 1;
      if (feed > from && feed[-1] == '\r')
        feed--;
      *feed = '\0';
      return from;
    }
    seen = held;
    if (!fill(net, held + 1))
      return NULL;
  }
}

char *bench_net_bytes(bench_net *net, size_t size_bytes)
{
  while (net->end - net->start < size_bytes)
    if (!fill(net, size_bytes))
      return NULL;
  char *from = net->data + net->start;
  net->start += size_bytes;
  return from;
}
