/*
 * watch.c: a foreign descriptor (hiredis, libpq, an eventfd) on the loop.
 *
 * The descriptor is dup'ed: libh2o closes its own copy, the owner closes his, and neither can close
 * somebody else's number by mistake. libh2o does no I/O on it (DONT_READ); it only says when.
 *
 * h2o_socket_notify_write fires once and cannot be taken back, so want_write(false) only makes the
 * coming event deaf. A callback may free the watch: the memory goes when the last callback on the
 * stack has returned.
 */
#include "net/loop_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct watch {
    h2o_socket_t *sock;
    struct watch_ops ops;
    void *arg;
    bool want_write; /* deliver the event that is asked for */
    bool in_callback, freed;
};

/* Runs one callback; false when it freed the watch. */
static bool call(struct watch *watch, void (*callback)(void *arg))
{
    watch->in_callback = true;
    callback(watch->arg);
    watch->in_callback = false;
    if (watch->freed) {
        free(watch);
        return false;
    }
    return true;
}

static void on_readable(h2o_socket_t *sock, const char *err)
{
    (void)err;
    struct watch *watch = sock->data;
    (void)call(watch, watch->ops.on_readable);
}

static void on_writable(h2o_socket_t *sock, const char *err)
{
    (void)err;
    struct watch *watch = sock->data;
    if (!watch->want_write)
        return;
    watch->want_write = false;
    (void)call(watch, watch->ops.on_writable);
}

maas_status watch_new(struct loop *loop, int fd, const struct watch_ops *ops, void *arg,
                      struct watch **out, maas_error *error)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return fail(error, MAAS_E_INTERNAL, "cannot duplicate descriptor %d: errno %d", fd, errno);
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        close(copy);
        return fail(error, MAAS_E_INTERNAL, "no memory to watch a descriptor");
    }
    watch->ops = *ops;
    watch->arg = arg;
    watch->sock = h2o_evloop_socket_create(loop_h2o(loop), copy, H2O_SOCKET_FLAG_DONT_READ);
    watch->sock->data = watch;
    *out = watch;
    return MAAS_OK;
}

void watch_want_read(struct watch *watch, bool on)
{
    if (on == (h2o_socket_is_reading(watch->sock) != 0))
        return;
    if (on)
        h2o_socket_read_start(watch->sock, on_readable);
    else
        h2o_socket_read_stop(watch->sock);
}

void watch_want_write(struct watch *watch, bool on)
{
    watch->want_write = on;
    if (on && !h2o_socket_is_writing(watch->sock))
        h2o_socket_notify_write(watch->sock, on_writable);
}

void watch_free(struct watch *watch)
{
    if (watch == NULL || watch->freed)
        return;
    h2o_socket_close(watch->sock);
    if (watch->in_callback)
        watch->freed = true;
    else
        free(watch);
}
