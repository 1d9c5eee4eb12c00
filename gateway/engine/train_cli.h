/*
 * train_cli.h: training and evaluation from a command line, in a process of its own.
 *
 *     train    --plugin FILE.so --data DIR --out DIR   [--seed N] [--option name=value ...]
 *     evaluate --plugin FILE.so --data DIR --model DIR [--seed N] [--option name=value ...]
 */
#ifndef MAAS_ENGINE_TRAIN_CLI_H
#define MAAS_ENGINE_TRAIN_CLI_H

/* argv[0] is "train" or "evaluate". Prints progress and metrics to stdout, errors to stderr; 0, 1
 * (failed) or 2 (usage). */
int engine_train_main(int argc, char **argv);

#endif
