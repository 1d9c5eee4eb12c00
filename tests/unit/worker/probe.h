/* probe.h: the first feature of a row that makes the test plugin misbehave. */
#ifndef MAAS_TEST_PROBE_H
#define MAAS_TEST_PROBE_H

enum {
    PROBE_ABORT = 666,
    PROBE_NULL,
    PROBE_EXIT,
    PROBE_SOCKET,
    PROBE_EXEC,
    PROBE_FORK,
    PROBE_KILL,
    PROBE_OPEN, /* answers 1 when it worked, like the next two */
    PROBE_THREAD,
    PROBE_MAPPING,
    PROBE_WAIT, /* until it is cancelled */
    PROBE_REFUSE
};

#endif
