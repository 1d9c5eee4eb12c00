/*
 * served.h: a real maas-worker behind a real channel, for one model: what the gateway does, without
 * HTTP. One at a time; fails the test when the worker does not answer.
 */
#ifndef ABI_SERVED_H
#define ABI_SERVED_H

#include "channel/channel.h"

struct served;
/* plugin: FILE.so; root: its artifact. NULL: out_line is what the worker said instead of "ready".
 */
struct served *served_start(const char *plugin, const char *root, char *out_line, size_t line_size);
void served_stop(struct served *s);
/* Asks and waits; the answer's body, or the refusal's text, in `out`. */
maas_status served_ask(struct served *s, uint16_t surface, const char *body, char *out,
                       size_t out_size);

#endif
