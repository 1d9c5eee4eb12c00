/*
 * border.h: both tables of the border, open to be wrapped. For the conformance runner alone
 * (sdk/check): it runs the real host and puts itself between host and plugin to count, to delay
 * and to fail.
 */
#ifndef MAAS_ENGINE_BORDER_H
#define MAAS_ENGINE_BORDER_H

#include "engine/engine.h"

/* The plugin's normalised table itself: what stands in it is called from now on. No call may be
 * running. */
maas_plugin *engine_plugin_border(struct engine_plugin *plugin);

/* From now on `wrap` sees each new host table (one a plugin, one a model) before a plugin does, and
 * may replace its functions and its size. NULL: none. One for the process. [control] */
void engine_host_wrap(void (*wrap)(maas_host *table));

#endif
