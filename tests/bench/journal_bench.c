/* journal_bench: what a request costs in the journal: nanoseconds to append its records, and
 * microseconds of CPU of the journal and drain threads until its row is in SQLite.
 *
 *     journal_bench [requests a second [seconds [channels]]]
 *
 * One worker appends at the given rate (in bursts of a millisecond), as the gateway would. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/rng.h"
#include "store/journal.h"
#include "store/migrate.h"
#include "store/sql.h"

static char dir[64];

static enum err open_ledger(void *ctx, struct sql **out, struct err_info *info)
{
    char path[128];
    snprintf(path, sizeof path, "%s/ledger.db", dir);
    enum err e = sql_open(&sql_sqlite, path, SQL_LEDGER, out, info);
    return e ? e : migrate_run(*out, &migrations_ledger, NULL, info);
}

/* CPU seconds of the threads with that name. */
static double thread_cpu(const char *name)
{
    double sum = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300], comm[32] = "";
        unsigned long long run_ns = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "r");
        if (!f)
            continue;
        bool ours = fgets(comm, sizeof comm, f) && strncmp(comm, name, strlen(name)) == 0;
        fclose(f);
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        if (ours && (f = fopen(path, "r"))) {
            if (fscanf(f, "%llu", &run_ns) == 1)
                sum += (double)run_ns / 1e9;
            fclose(f);
        }
    }
    if (d)
        closedir(d);
    return sum;
}

static bool one_request(struct journal_ring *r, uint64_t n, unsigned channels)
{
    struct ledger_admitted a = {.tenant_id = 1,
                                .user_id = 1,
                                .key_id = 1,
                                .route_id = 1,
                                .at_ms = clock_wall_ms(),
                                .est_in = 300,
                                .est_out = 1024,
                                .model = STR("gpt-4o-mini")};
    struct ledger_settled s = {
        .state = LEDGER_COMPLETED,
        .attempts = 1,
        .status = 200,
        .ended_ms = a.at_ms + 1,
        .ttft_us = 700,
        .total_us = 900,
        .overhead_us = 30,
        .channel_id = 1 + (int64_t)(n % channels),
        .credential_id = 1,
        .c = {.in_uncached = 250, .cache_read = 50, .out_text = 40},
        .cost_nusd = 61500,
        .has_cost = true,
        .upstream_model = STR("gpt-4o-mini-2024-07-18"),
        .usage_json = STR("{\"prompt_tokens\":300,\"completion_tokens\":40,\"total_tokens\":340,"
                          "\"prompt_tokens_details\":{\"cached_tokens\":50}}")};
    rng_uuid7(a.at_ms, a.request_id);
    memcpy(s.request_id, a.request_id, 16);
    if (journal_admitted(r, &a) != ERR_OK)
        return false;
    journal_settled(r, &s);
    return true;
}

/* Both records again and again, the ring emptied by the journal thread; only appends are timed. */
static double append_ns(struct journal_ring *r)
{
    struct ledger_admitted a = {.tenant_id = 1, .model = STR("gpt-4o-mini")};
    struct ledger_settled s = {.usage_json =
                                   STR("{\"prompt_tokens\":300,\"completion_tokens\":40}")};
    uint64_t spent = 0, records = 0;
    for (int burst = 0; burst < 20; burst++) {
        uint64_t from = clock_mono_ns();
        for (int i = 0; i < 2000; i++) {
            if (journal_admitted(r, &a) != ERR_OK)
                break;
            journal_settled(r, &s);
            records += 2;
        }
        spent += clock_mono_ns() - from;
        usleep(120000);
    }
    return records ? (double)spent / (double)records : 0;
}

int main(int argc, char **argv)
{
    uint64_t rate = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 5;
    unsigned channels = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 4;
    struct journal *j;
    struct err_info info;
    char command[100];
    snprintf(dir, sizeof dir, "journal-bench-XXXXXX");
    if (!mkdtemp(dir) || !channels)
        return 1;
    struct journal_options o = {.data_dir = dir, .workers = 1, .open_sql = open_ledger};
    if (journal_start(&j, &o, &info) != ERR_OK) {
        fprintf(stderr, "%s\n", info.text);
        return 1;
    }
    struct journal_ring *r = journal_ring(j, 0);
    double append = append_ns(r);
    while (journal_pending(j))
        usleep(1000);
    double copy_from = thread_cpu("lyss-journal"), drain_from = thread_cpu("lyss-drain");
    uint64_t done = 0, refused = 0, per_ms = rate / 1000, until = clock_mono_ns();
    for (uint64_t ms = 0; ms < seconds * 1000; ms++) {
        for (uint64_t i = 0; i < per_ms; i++)
            if (one_request(r, done, channels))
                done++;
            else
                refused++;
        until += 1000000;
        int64_t left = (int64_t)(until - clock_mono_ns());
        if (left > 0)
            usleep((useconds_t)(left / 1000));
    }
    while (journal_pending(j))
        usleep(1000);
    double copy = thread_cpu("lyss-journal") - copy_from,
           drain = thread_cpu("lyss-drain") - drain_from;
    double idle_from = thread_cpu("lyss-journal") + thread_cpu("lyss-drain");
    usleep(2000000);
    double idle = (thread_cpu("lyss-journal") + thread_cpu("lyss-drain") - idle_from) / 2;
    printf(
        "append %.0f ns a record; %llu requests (%llu refused): journal %.2f us, drain %.2f us of "
        "CPU a request; idle %.0f us of CPU a second\n",
        append, (unsigned long long)done, (unsigned long long)refused, copy / (double)done * 1e6,
        drain / (double)done * 1e6, idle * 1e6);
    journal_stop(&j);
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) != 0;
}
