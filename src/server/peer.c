/* Who is at the other end of a connection, and networks that are trusted. Pure functions over sockets and addresses; any thread. */
#include "server/inside.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct in6_addr mapped(struct in_addr v4)
{
    struct in6_addr out = {.s6_addr = {[10] = 0xFF, [11] = 0xFF}};
    memcpy(&out.s6_addr[12], &v4, sizeof v4);
    return out;
}

bool tt_addr_parse(tt_str text, struct in6_addr *ret)
{
    char copy[INET6_ADDRSTRLEN + 1];
    struct in_addr v4;
    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    if (inet_pton(AF_INET, copy, &v4) == 1)
        return *ret = mapped(v4), true;
    return inet_pton(AF_INET6, copy, ret) == 1;
}

bool tt_addr_is_loopback(const struct in6_addr *addr)
{
    if (IN6_IS_ADDR_V4MAPPED(addr))
        return addr->s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(addr);
}

tt_rc tt_cidr_parse(tt_str text, tt_cidr *ret, tt_err *err)
{
    tt_str rest = text, addr;
    uint64_t bits = 128;
    tt_cidr out;
    if (!tt_str_cut(&rest, '/', &addr) || !tt_addr_parse(addr, &out.addr))
        return tt_fail(err, TT_INVALID, "`%.*s` is not a network: write it as 10.0.0.0/8 or fd00::/8", TT_STR_ARG(text));
    uint64_t most = IN6_IS_ADDR_V4MAPPED(&out.addr) && tt_str_find(addr, ':') < 0 ? 32 : 128;
    if (rest.ptr && (tt_parse_u64(rest, &bits, NULL) != TT_OK || bits > most))
        return tt_fail(err, TT_INVALID, "`%.*s`: a prefix has 0 to %u bits", TT_STR_ARG(text), (unsigned)most);
    out.prefix_bits = (unsigned)(rest.ptr ? bits + 128 - most : 128);
    *ret = out;
    return TT_OK;
}

bool tt_cidr_holds(const tt_cidr *c, const struct in6_addr *addr)
{
    unsigned whole = c->prefix_bits / 8, bits = c->prefix_bits % 8;
    if (memcmp(c->addr.s6_addr, addr->s6_addr, whole) != 0)
        return false;
    unsigned mask = 0xFFu << (8 - bits) & 0xFFu;
    return bits == 0 || (c->addr.s6_addr[whole] & mask) == (addr->s6_addr[whole] & mask);
}

static tt_peer_kind kind_of_address(const tt_server *s, const struct in6_addr *addr)
{
    if (tt_addr_is_loopback(addr))
        return TT_PEER_LOOPBACK;
    if (!s->options.insecure)
        return TT_PEER_REMOTE;
    bool trusted = s->access.trust.len == 0;
    for (size_t i = 0; i < s->access.trust.len && !trusted; i++)
        trusted = tt_cidr_holds(&s->access.trust.ptr[i], addr);
    return trusted ? TT_PEER_TRUSTED : TT_PEER_REMOTE;
}

static void read_unix(int fd, tt_peer *ret)
{
    struct ucred who;
    socklen_t size = sizeof who;
    ret->kind = TT_PEER_UNIX;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) {
        snprintf(ret->text, sizeof ret->text, "unix");
        return;
    }
    if (who.uid == geteuid() || who.uid == 0)
        ret->kind = TT_PEER_SAME_USER;
    snprintf(ret->text, sizeof ret->text, "pid %ld uid %lu", (long)who.pid, (unsigned long)who.uid);
}

void tt_peer_read(tt_server *s, int fd, const struct sockaddr *addr, tt_peer *ret)
{
    char text[INET6_ADDRSTRLEN] = "?";
    struct in6_addr ip;
    unsigned port;
    *ret = (tt_peer){.kind = TT_PEER_REMOTE, .text = "unknown"};
    if (addr && addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
        ip = mapped(in->sin_addr);
        port = ntohs(in->sin_port);
    } else if (addr && addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)addr;
        ip = in->sin6_addr;
        port = ntohs(in->sin6_port);
    } else {
        int domain = 0;
        socklen_t size = sizeof domain;
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX)
            read_unix(fd, ret);
        return;
    }
    bool v4 = IN6_IS_ADDR_V4MAPPED(&ip);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&ip.s6_addr[12] : (const void *)&ip, text, sizeof text);
    snprintf(ret->text, sizeof ret->text, v4 ? "%s:%u" : "[%s]:%u", text, port);
    pthread_rwlock_rdlock(&s->access_lock);
    ret->kind = kind_of_address(s, &ip);
    pthread_rwlock_unlock(&s->access_lock);
}
