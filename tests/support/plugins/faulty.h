/*
 * faulty.h: what "maas.faulty" does, chosen by the first feature of the first row. Any other number
 * is echoed. The numbers up to 9 are for tests of a whole gateway, those from 100 on for tests of
 * the engine: they break the contract but hurt nobody when the engine keeps it.
 */
#ifndef FAULTY_H
#define FAULTY_H

enum {
    FAULTY_ECHO = 0,
    FAULTY_ABORT = 1,
    FAULTY_NULL_WRITE = 2,
    FAULTY_LOOP = 3,
    FAULTY_EXIT = 4,
    FAULTY_WRONG_SHAPE = 5,
    FAULTY_DONE_TWICE = 6,
    FAULTY_NEVER_DONE = 7,
    FAULTY_SLEEP = 8,      /* 5 seconds without a look at cancelled */
    FAULTY_HUGE_ALLOC = 9, /* 1 TiB from the host, then says so by an error */

    FAULTY_OTHER_THREAD = 100, /* emit and done from a thread of its own, after infer returned */
    FAULTY_EMIT_AFTER_DONE = 101,
    FAULTY_DONE_AND_ERROR = 102, /* done, then an error from infer */
    FAULTY_STATUS_OUT_OF_RANGE = 103,
    FAULTY_EMIT_TWICE = 104,
    FAULTY_EMIT_NOTHING = 105, /* done(OK) without an output */
    FAULTY_UNKNOWN_OUTPUT = 106,
    FAULTY_WRONG_DTYPE = 107,
    FAULTY_DONE_FOR_ANOTHER = 108, /* ends the request before this one again, then echoes */
    FAULTY_FREE_STRANGE = 109,     /* frees the host's memory twice, then echoes */
    FAULTY_ERROR_WITHOUT_NUL = 110,
    FAULTY_UNTIL_CANCELLED = 111, /* works until cancelled, and says so */
    FAULTY_COUNT = 112,           /* answers how many calls it ever saw at once */
    FAULTY_INVALID = 113,         /* validate refuses the row */
    FAULTY_ALLOC_ALL = 114,       /* takes from the host until there is none, then echoes */
};

#endif
