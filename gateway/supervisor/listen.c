/*
 * listen.c: one listening socket.
 */
#include "supervisor/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* getaddrinfo takes 70000 and means 4464. */
static bool is_port(const char *text)
{
    unsigned long port = 0;
    if (*text == '\0' || strlen(text) > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (unsigned long)(*text - '0');
    }
    return port <= 65535;
}

static bool split(const char *address, char host[256], char port[16])
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !is_port(colon + 1))
        return false;
    size_t len = (size_t)(colon - address);
    if (address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    if (len == 0 || len > 255)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    snprintf(port, 16, "%s", colon + 1);
    return true;
}

static int bound_socket(const struct addrinfo *info)
{
    int one = 1, fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                             info->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, 1024) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

maas_status listen_on(const char *address, int *out_fd, maas_error *error)
{
    char host[256], port[16];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV },
                    *list = NULL;
    if (!split(address, host, port))
        return fail(error, MAAS_E_INVALID, "the address '%s' is not host:port", address);
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc)
        return fail(error, MAAS_E_INVALID, "the address '%s' cannot be resolved: %s", address,
                    gai_strerror(rc));
    int fd = bound_socket(list);
    int why = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot listen on '%s': %s", address, strerror(why));
    *out_fd = fd;
    return MAAS_OK;
}
