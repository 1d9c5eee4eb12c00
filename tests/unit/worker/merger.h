/* merger.h: what the test plugin does, by the first feature of any row of the call. Any other row
 * is answered by (feature * scale, rows of the call, number of the call). */
#ifndef MAAS_TEST_MERGER_H
#define MAAS_TEST_MERGER_H

enum {
    MERGER_INVALID = 1001,       /* validate refuses the request */
    MERGER_REFUSED = 1002,       /* infer refuses the call that holds it */
    MERGER_MERGED_FAILS = 1003,  /* infer fails when the call has more than one row */
    MERGER_MERGED_SHAPE = 1004,  /* emits a row too few when the call has more than one row */
    MERGER_MERGED_SILENT = 1005, /* emits nothing when the call has more than one row */
    MERGER_UNTIL_CANCELLED = 1006,
    MERGER_TWO_EMITS = 1007, /* one output after the other */
    MERGER_THREAD = 1008,    /* emits and ends from a thread of its own */
    MERGER_SLOW = 1009       /* the call sleeps 20 ms a row */
};

#endif
