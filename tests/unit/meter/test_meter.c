/*
 * The spool: what was acknowledged is shipped, once, whatever is killed, cut or flipped. The sink
 * of these tests behaves as usage_append does: it skips what its cursor has, and it can be told to
 * fail before or after it has taken a batch.
 */
#include "meter/chain.h"
#include "meter/orphan.h"
#include "meter/ship.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#undef fail /* ours is meant */

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPOOLS        64
#define SEGMENT_BYTES (64 * RECORD_BYTES)

static struct memory {
    struct {
        struct uuid spool;
        uint32_t loop;
        uint64_t cursor, events, units;
    } chains[SPOOLS];
    uint32_t count;
    uint32_t calls,
        fail_every; /* every n-th call fails, after having taken the batch on odd ones */
} memory;
static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER; /* the shipper's thread and ours */

static maas_status take_batch(struct memory *m, const struct uuid *spool, uint32_t loop,
                              uint64_t first_seq, const struct usage_event *events, uint32_t count,
                              maas_error *error)
{
    uint32_t i = 0;
    bool fails = m->fail_every && ++m->calls % m->fail_every == 0;
    if (fails && m->calls % 2 == 0)
        return fail(error, MAAS_E_UNAVAILABLE, "away");
    while (i < m->count && (!uuid_eq(&m->chains[i].spool, spool) || m->chains[i].loop != loop))
        i++;
    assert_true(i < SPOOLS);
    if (i == m->count) {
        m->chains[i].spool = *spool;
        m->chains[i].loop = loop;
        m->count++;
    }
    for (uint32_t n = 0; n < count; n++)
        if (first_seq + n > m->chains[i].cursor) {
            assert_int_equal(first_seq + n, m->chains[i].cursor + 1);
            m->chains[i].cursor++;
            m->chains[i].events++;
            m->chains[i].units += events[n].units;
        }
    return fails ? fail(error, MAAS_E_UNAVAILABLE, "answer lost") : MAAS_OK;
}

static maas_status memory_append(void *arg, const struct uuid *spool, uint32_t loop,
                                 uint64_t first_seq, const struct usage_event *events,
                                 uint32_t count, maas_error *error)
{
    pthread_mutex_lock(&memory_lock);
    maas_status status = take_batch(arg, spool, loop, first_seq, events, count, error);
    pthread_mutex_unlock(&memory_lock);
    return status;
}

static void memory_close(void *arg)
{
    (void)arg;
}

static const struct usage_sink sink = { .append = memory_append,
                                        .close = memory_close,
                                        .arg = &memory };

static uint64_t events_in_memory(void)
{
    uint64_t n = 0;
    pthread_mutex_lock(&memory_lock);
    for (uint32_t i = 0; i < memory.count; i++)
        n += memory.chains[i].events;
    pthread_mutex_unlock(&memory_lock);
    return n;
}

/* Forgets what was taken; every `fail_every`-th call fails from now on. */
static void memory_reset(uint32_t fail_every, bool forget)
{
    pthread_mutex_lock(&memory_lock);
    if (forget)
        memset(&memory, 0, sizeof(memory));
    memory.fail_every = fail_every;
    pthread_mutex_unlock(&memory_lock);
}

static char root[] = "/tmp/maas-meter-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    return at->level > 0 ? remove(path) : 0;
}

static int clean(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof(memory));
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct usage_event event_of(uint64_t i)
{
    struct usage_event e = { .at_us = 1700000000000000u + i,
                             .version = 3,
                             .rows = 2,
                             .units = i,
                             .compute_us = 7,
                             .latency_us = 9,
                             .http_status = 200,
                             .surface = 1 };
    memset(&e.tenant, (int)(i & 255), 16);
    memset(&e.request, (int)(i >> 8 & 255), 16);
    return e;
}

static struct meter *start(uint32_t loops, uint64_t bytes_max)
{
    struct meter_config config = { .dir = root,
                                   .loops = loops,
                                   .bytes_max = bytes_max,
                                   .segment_bytes = SEGMENT_BYTES,
                                   .sync_ms = 1,
                                   .call_timeout_ms = 1000,
                                   .conninfo = "" };
    struct meter *m = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(meter_start_with(&config, &sink, &m, &error), MAAS_OK);
    return m;
}

static void append_when_ready(struct meter_tap *tap, uint64_t i)
{
    struct usage_event e = event_of(i);
    maas_error error = MAAS_ERROR_INIT;
    struct timespec t = { 0, 1000000 };
    for (int wait = 0; !meter_ready(tap) && wait < 10000; wait++)
        nanosleep(&t, NULL);
    assert_int_equal(meter_append(tap, &e, &error), MAAS_OK);
}

/* ---- records */

static void a_record_survives_and_any_flipped_bit_is_seen(void **state)
{
    (void)state;
    uint8_t bytes[RECORD_BYTES];
    struct usage_event e = event_of(4711), back;
    record_encode(bytes, 12, &e);
    assert_true(record_decode(bytes, 12, &back));
    assert_memory_equal(&e.tenant, &back.tenant, 16);
    assert_true(back.units == 4711 && back.rows == 2 && back.surface == 1 &&
                back.http_status == 200 && back.latency_us == 9);
    assert_false(record_decode(bytes, 13, &back));
    for (size_t bit = 0; bit < RECORD_BYTES * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(record_decode(bytes, 12, &back));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* ---- the normal life */

static void every_appended_event_is_shipped_once_though_the_sink_keeps_failing(void **state)
{
    (void)state;
    memory_reset(3, false);
    struct meter *m = start(2, 64 * SEGMENT_BYTES);
    for (uint64_t i = 0; i < 2000; i++)
        append_when_ready(meter_tap(m, i % 2), i);
    memory_reset(0, false); /* the last rounds may succeed */
    meter_stop(m, 10000);
    assert_int_equal(events_in_memory(), 2000);
    assert_int_equal(memory.chains[0].units + memory.chains[1].units, 2000 * 1999 / 2);
}

static void a_full_spool_says_so_before_the_work_and_loses_nothing(void **state)
{
    (void)state;
    memory_reset(1, false); /* away */
    struct meter *m = start(1, 3 * SEGMENT_BYTES);
    struct meter_tap *tap = meter_tap(m, 0);
    struct timespec t = { 0, 5000000 };
    uint64_t taken = 0;
    for (int rounds = 0; rounds < 400 && taken < 10000; rounds++) {
        struct usage_event e = event_of(taken);
        maas_error error = MAAS_ERROR_INIT;
        if (meter_ready(tap))
            taken += meter_append(tap, &e, &error) == MAAS_OK;
        else if (rounds % 4 == 0)
            nanosleep(&t, NULL);
    }
    assert_false(meter_ready(tap));
    assert_true(taken >= 64 && taken <= 3 * 64);
    memory_reset(0, true);
    meter_stop(m, 10000);
    assert_int_equal(events_in_memory(), taken);
}

/* ---- death */

/* Appends until it is killed; says in shared memory how far it came. */
static void append_for_ever(const struct usage_sink *to, _Atomic uint64_t *acknowledged)
{
    struct meter_config config = { .dir = root,
                                   .loops = 1,
                                   .bytes_max = 1 << 26,
                                   .segment_bytes = SEGMENT_BYTES,
                                   .sync_ms = 1,
                                   .conninfo = "" };
    struct meter *m = NULL;
    if (meter_start_with(&config, to, &m, NULL))
        _exit(1);
    for (uint64_t i = 0;;) {
        struct usage_event e = event_of(i);
        if (meter_ready(meter_tap(m, 0)) && meter_append(meter_tap(m, 0), &e, NULL) == MAAS_OK)
            atomic_store(acknowledged, ++i);
    }
}

static void child_appends(_Atomic uint64_t *acknowledged)
{
    static struct memory away = { .fail_every = 1, .calls = 1 };
    append_for_ever(
        &(struct usage_sink){ .append = memory_append, .close = memory_close, .arg = &away },
        acknowledged);
}

static void kill_9_at_any_time_loses_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    _Atomic uint64_t *acknowledged =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);
    for (int round = 0; round < 30; round++) {
        struct uuid none;
        uint64_t events = 0, spools = 0;
        maas_error error = MAAS_ERROR_INIT;
        struct timespec t = { 0, 1000000 + (long)(hash_bytes(&round, sizeof(round)) % 20000000) };
        clean(NULL);
        atomic_store(acknowledged, 0);
        pid_t pid = fork();
        if (pid == 0)
            child_appends(acknowledged);
        while (atomic_load(acknowledged) == 0)
            ;
        nanosleep(&t, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        memset(&none, 0, sizeof(none));
        assert_int_equal(orphans_ship(root, &none, SEGMENT_BYTES / RECORD_BYTES, &sink, &events,
                                      &spools, &error),
                         MAAS_OK);
        assert_int_equal(spools, 1);
        assert_true(events == atomic_load(acknowledged) || events == atomic_load(acknowledged) + 1);
        assert_int_equal(events_in_memory(), events);
    }
    munmap(acknowledged, 4096);
}

/* What a child that ships shares with the test. */
struct shipping {
    _Atomic uint64_t acknowledged; /* appended for sure */
    _Atomic uint64_t taken;        /* as the receiver's cursor: shipped for sure */
    uint64_t next;                 /* the test's: the first event that was not seen yet */
};

static maas_status take_all(void *arg, const struct uuid *spool, uint32_t loop, uint64_t first_seq,
                            const struct usage_event *events, uint32_t count, maas_error *error)
{
    (void)spool;
    (void)loop;
    (void)events;
    (void)error;
    struct shipping *s = arg;
    atomic_store(&s->taken, first_seq + count - 1);
    return MAAS_OK;
}

/* As the database does: what is before the cursor is skipped, the rest must follow it. */
static maas_status take_rest(void *arg, const struct uuid *spool, uint32_t loop, uint64_t first_seq,
                             const struct usage_event *events, uint32_t count, maas_error *error)
{
    (void)spool;
    (void)loop;
    (void)error;
    struct shipping *s = arg;
    for (uint32_t n = 0; n < count; n++) {
        assert_int_equal(events[n].units, first_seq + n - 1);
        if (first_seq + n <= s->next)
            continue;
        assert_int_equal(first_seq + n, s->next + 1);
        s->next++;
    }
    return MAAS_OK;
}

static void child_appends_and_ships(struct shipping *s)
{
    append_for_ever(&(struct usage_sink){ .append = take_all, .close = memory_close, .arg = s },
                    &s->acknowledged);
}

static void kill_9_among_segments_that_are_used_again_loses_and_doubles_nothing(void **state)
{
    (void)state;
    struct shipping *s =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    struct usage_sink rest = { .append = take_rest, .close = memory_close, .arg = s };
    for (int round = 0; round < 10; round++) {
        struct uuid none;
        uint64_t events = 0, spools = 0,
                 wanted = 64 * (10 + hash_bytes(&round, sizeof(round)) % 40);
        struct timespec t = { 0, 1000000 };
        clean(NULL);
        memset(s, 0, sizeof(*s));
        pid_t pid = fork();
        if (pid == 0)
            child_appends_and_ships(s);
        for (int wait = 0; atomic_load(&s->taken) < wanted && wait < 20000; wait++)
            nanosleep(&t, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_true(atomic_load(&s->taken) >= wanted);
        memset(&none, 0, sizeof(none));
        s->next = atomic_load(&s->taken);
        assert_int_equal(
            orphans_ship(root, &none, SEGMENT_BYTES / RECORD_BYTES, &rest, &events, &spools, NULL),
            MAAS_OK);
        uint64_t acknowledged = atomic_load(&s->acknowledged);
        assert_true(s->next == acknowledged || s->next == acknowledged + 1);
    }
    munmap(s, 4096);
}

static void spool_folder(char out[512])
{
    DIR *d = opendir(root);
    struct dirent *entry;
    while ((entry = readdir(d)) && entry->d_name[0] == '.')
        ;
    snprintf(out, 512, "%s/%s", root, entry->d_name);
    closedir(d);
}

/* Adds the files that are there now to those seen before; returns how many there are now. */
static size_t look_at_segments(const char *dir, ino_t seen[64], size_t *count)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    size_t now = 0;
    while ((entry = readdir(d))) {
        size_t i = 0;
        if (!strstr(entry->d_name, ".seg"))
            continue;
        now++;
        while (i < *count && seen[i] != entry->d_ino)
            i++;
        if (i == *count && *count < 64)
            seen[(*count)++] = entry->d_ino;
    }
    closedir(d);
    return now;
}

static void shipped_segments_are_used_again(void **state)
{
    (void)state;
    enum { SEGMENTS = 20 };
    struct meter *m = start(1, 64 * SEGMENT_BYTES);
    struct timespec t = { 0, 1000000 };
    ino_t seen[64];
    size_t count = 0;
    char dir[512];
    spool_folder(dir);
    for (uint64_t i = 0; i < SEGMENTS * 64; i++) {
        append_when_ready(meter_tap(m, 0), i);
        if (i % 64 != 63)
            continue;
        for (int wait = 0; events_in_memory() <= i && wait < 10000; wait++)
            nanosleep(&t, NULL); /* as if the shipper kept up */
        look_at_segments(dir, seen, &count);
    }
    for (int wait = 0; look_at_segments(dir, seen, &count) > CHAIN_SPARES + 3 && wait < 10000;
         wait++)
        nanosleep(&t, NULL);
    assert_in_range(count, 1, SEGMENTS / 2); /* else one file each */
    meter_stop(m, 5000);
}

static void a_living_spool_is_not_adopted(void **state)
{
    (void)state;
    struct meter *m = start(1, 8 * SEGMENT_BYTES);
    struct uuid none;
    uint64_t events = 0, spools = 0;
    maas_error error = MAAS_ERROR_INIT;
    memset(&none, 0, sizeof(none));
    append_when_ready(meter_tap(m, 0), 1);
    assert_int_equal(
        orphans_ship(root, &none, SEGMENT_BYTES / RECORD_BYTES, &sink, &events, &spools, &error),
        MAAS_OK);
    assert_int_equal(spools, 0);
    meter_stop(m, 5000);
}

/* ---- damage */

#define DAMAGED_RECORDS 5

static void write_orphan(const uint8_t *bytes, size_t len, struct uuid *spool)
{
    char name[UUID_TEXT_MAX], dir[512], path[640];
    uuid_random(spool);
    uuid_format(spool, name);
    snprintf(dir, sizeof(dir), "%s/%s", root, name);
    assert_int_equal(mkdir(dir, 0700), 0);
    close(spool_lock(dir, true));
    chain_segment_path(path, sizeof(path), dir, 0, 0);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static uint64_t replayed(const uint8_t *bytes, size_t len)
{
    struct uuid none, spool;
    uint64_t events = 0, spools = 0;
    maas_error error = MAAS_ERROR_INIT;
    memset(&none, 0, sizeof(none));
    memset(&memory, 0, sizeof(memory));
    write_orphan(bytes, len, &spool);
    assert_int_equal(
        orphans_ship(root, &none, SEGMENT_BYTES / RECORD_BYTES, &sink, &events, &spools, &error),
        MAAS_OK);
    assert_int_equal(events_in_memory(), events);
    return events;
}

static void a_spool_cut_or_flipped_anywhere_replays_exactly_its_valid_prefix(void **state)
{
    (void)state;
    uint8_t bytes[DAMAGED_RECORDS * RECORD_BYTES];
    for (uint64_t i = 0; i < DAMAGED_RECORDS; i++) {
        struct usage_event e = event_of(i);
        record_encode(bytes + i * RECORD_BYTES, i + 1, &e);
    }
    assert_int_equal(replayed(bytes, sizeof(bytes)), DAMAGED_RECORDS);
    for (size_t cut = 0; cut < sizeof(bytes); cut++)
        assert_int_equal(replayed(bytes, cut), cut / RECORD_BYTES);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit += 3) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(replayed(bytes, sizeof(bytes)), bit / 8 / RECORD_BYTES);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_record_survives_and_any_flipped_bit_is_seen, clean),
        cmocka_unit_test_setup(every_appended_event_is_shipped_once_though_the_sink_keeps_failing,
                               clean),
        cmocka_unit_test_setup(a_full_spool_says_so_before_the_work_and_loses_nothing, clean),
        cmocka_unit_test_setup(kill_9_at_any_time_loses_nothing_that_was_acknowledged, clean),
        cmocka_unit_test_setup(kill_9_among_segments_that_are_used_again_loses_and_doubles_nothing,
                               clean),
        cmocka_unit_test_setup(shipped_segments_are_used_again, clean),
        cmocka_unit_test_setup(a_living_spool_is_not_adopted, clean),
        cmocka_unit_test_setup(a_spool_cut_or_flipped_anywhere_replays_exactly_its_valid_prefix,
                               clean),
    };
    if (!mkdtemp(root))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clean(NULL);
    rmdir(root);
    return failed;
}
