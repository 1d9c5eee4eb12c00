/* Addresses of listeners: what is one, and what is refused with its text. */
#include "supervisor/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void what_is_no_address_is_refused_with_its_text(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       ":8443",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "127.0.0.1:70000",
                                       "127.0.0.1:65536",
                                       "127.0.0.1:-1",
                                       "127.0.0.1:+80",
                                       "127.0.0.1:8443x",
                                       "127.0.0.1:https",
                                       "[]:1" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        maas_error error = MAAS_ERROR_INIT;
        int fd = -1;
        assert_int_equal(listen_on(bad[i], &fd, &error), MAAS_E_INVALID);
        assert_non_null(strstr(error.text, bad[i]));
        assert_int_equal(fd, -1);
    }
}

static void a_socket_listens_and_a_taken_port_is_said(void **state)
{
    (void)state;
    int fd = -1, second = -1, listening = 0;
    socklen_t size = sizeof(listening);
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(listen_on("127.0.0.1:0", &fd, &error), MAAS_OK);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size), 0);
    assert_int_equal(listening, 1);
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    char address[32];
    const unsigned char *port = (const unsigned char *)&at + 2;
    snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)port[0] << 8 | port[1]);
    assert_int_equal(listen_on(address, &second, &error), MAAS_E_UNAVAILABLE);
    assert_non_null(strstr(error.text, address));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_address_is_refused_with_its_text),
        cmocka_unit_test(a_socket_listens_and_a_taken_port_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
