/*
 * The worker's decoder of frames against a gateway's side that flips bits: under the sanitizers no
 * read leaves a job's own memory, whatever its lengths say.
 */
#include "worker/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/stat.h>

#define RING  65536u
#define LIVES 300u

static uint64_t dice_state = 88172645463325252;

static uint64_t dice(void)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state;
}

static void write_frame(struct channel *ch, uint32_t i)
{
    static const char body[3000] = { 'b' };
    const struct submit_frame frame = { .kind = SUBMIT_INFER,
                                        .job = job_id(i % 8, 1),
                                        .name_len = 5,
                                        .version_len = 1,
                                        .request_id_len = 3,
                                        .body_len = (uint32_t)(dice() % sizeof(body)) };
    const struct channel_part parts[] = { { &frame, sizeof(frame) },
                                          { "model", 5 },
                                          { "1", 1 },
                                          { "r-1", 3 },
                                          { body, frame.body_len } };
    (void)channel_submit(ch, 0, parts, COUNT_OF(parts));
}

static void flip(uint8_t *map, size_t bytes, bool near)
{
    size_t rings = bytes - 2 * RING;
    size_t at = near ? rings + dice() % RING : 4096 + dice() % (bytes - 4096);
    map[at] ^= (uint8_t)(1u << dice() % 8);
}

static size_t read_all(struct str text)
{
    size_t sum = 0;
    for (size_t i = 0; i < text.len; i++)
        sum += (uint8_t)text.data[i];
    return sum;
}

static uint32_t refused;

static void refuse(void *arg, uint32_t loop, uint64_t job)
{
    (void)arg;
    (void)job;
    assert_int_equal(loop, 0);
    refused++;
}

static uint32_t take_all(struct queue *q)
{
    struct job *job;
    uint32_t count = 0;
    volatile size_t sum = 0;
    (void)queue_drain(q, 1);
    for (; (job = queue_pop(q)) != NULL; count++) {
        sum = sum + read_all(job->name) + read_all(job->version) + read_all(job->request_id) +
              read_all(job->body);
        queue_end(q, job, 1000);
    }
    return count;
}

static void flipped_frames_are_dropped_or_read_within_their_bounds(void **state)
{
    (void)state;
    uint32_t taken = 0, broken = 0;
    for (uint32_t life = 0; life < LIVES; life++) {
        struct channel *ch = NULL;
        struct stat st;
        assert_int_equal(channel_create(1, RING, RING, &ch, NULL), MAAS_OK);
        assert_int_equal(fstat(channel_memfd(ch), &st), 0);
        uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                            channel_memfd(ch), 0);
        const struct fair_limits limits = { 64, 64, 1 << 18, 1 << 20 };
        struct queue *q = queue_new(ch, 1, &limits, (struct queue_refusal){ refuse, NULL });
        assert_true(map != MAP_FAILED && q);
        for (uint32_t i = 0; i < 40 && !channel_broken(ch); i++) {
            for (int n = 0; n < 6; n++)
                write_frame(ch, i);
            for (int n = 0; n < 60; n++)
                flip(map, (size_t)st.st_size, life % 2);
            taken += take_all(q);
        }
        broken += channel_broken(ch);
        queue_free(q);
        munmap(map, (size_t)st.st_size);
        channel_free(ch);
    }
    print_message("%u jobs taken, %u refused, %u channels broken\n", taken, refused, broken);
    assert_true(taken > LIVES && broken > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_frames_are_dropped_or_read_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
