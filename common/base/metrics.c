/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/metrics.h"

#include "common/base/map.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define MAX_METRICS 1024
#define MAX_COLLECTORS 64
#define MAX_ALLOWANCES 256

static const double default_buckets[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 0};

/*
 * Values are doubles in 64-bit words, changed by compare and swap, so that counting takes no lock. A histogram has one count for each
 * bucket (not cumulative: summed up when written), one for +Inf, and the sum in `value`.
 */
struct metric_series {
	struct metric *metric;
	char *label_text; /* a="x",b="y" without braces */
	uint64_t value;   /* bits of a double */
	uint64_t counts[]; /* of buckets, the last is +Inf */
};

struct metric_state {
	pthread_mutex_t lock;
	struct map series; /* by label text */
	size_t bucket_count;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *registry[MAX_METRICS];
static size_t registry_len;
static struct {
	void (*fn)(void *arg);
	void *arg;
} collectors[MAX_COLLECTORS];
static size_t collector_count;

/* What the operator keeps from growing. Few, and fixed before there are readers. */
static struct {
	char *metric, *label;
	struct map values;
} allowances[MAX_ALLOWANCES];
static size_t allowance_count;
static struct map disabled = MAP_INIT(NULL);

void metrics_disable(const char *name)
{
	pthread_mutex_lock(&registry_lock);
	set_add(&disabled, name);
	pthread_mutex_unlock(&registry_lock);
}

void metrics_allow_label(const char *metric, const char *label, const char *values)
{
	pthread_mutex_lock(&registry_lock);
	size_t i = 0;
	while (i < allowance_count && (strcmp(allowances[i].metric, metric) != 0 || strcmp(allowances[i].label, label) != 0))
		i++;
	if (i == allowance_count && i < MAX_ALLOWANCES) {
		allowances[i].metric = xstrdup(metric);
		allowances[i].label = xstrdup(label);
		allowances[i].values = MAP_INIT(NULL);
		allowance_count++;
	}
	if (i < MAX_ALLOWANCES) {
		map_clear(&allowances[i].values);
		for (const char *p = values;; p++) {
			size_t len = strcspn(p, ",");
			autofree char *value = xstrndup(p, len);
			set_add(&allowances[i].values, value);
			p += len;
			if (!*p)
				break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
}

static const char *allowed_value(const struct metric *metric, const char *label, const char *value)
{
	for (size_t i = 0; i < allowance_count; i++)
		if (strcmp(allowances[i].metric, metric->name) == 0 && strcmp(allowances[i].label, label) == 0)
			return map_has(&allowances[i].values, str_or(value, "")) ? value : "unexpected";
	return value;
}

void metrics_register(struct metric *metrics, size_t count)
{
	pthread_mutex_lock(&registry_lock);
	for (size_t i = 0; i < count; i++) {
		struct metric *m = &metrics[i];
		if (m->state)
			continue;
		if (registry_len == MAX_METRICS)
			abort(); /* rows are static: this is a mistake in the program */
		struct metric_state *state = xnew(struct metric_state);
		pthread_mutex_init(&state->lock, NULL);
		state->series = MAP_INIT(NULL);
		if (m->kind == METRIC_HISTOGRAM) {
			if (!m->buckets)
				m->buckets = default_buckets;
			do
				state->bucket_count++;
			while (m->buckets[state->bucket_count]);
		}
		m->state = state;
		registry[registry_len++] = m;
		if (!m->labels)
			metric_with(m, NULL); /* told from the start: what has not happened yet has happened no times */
	}
	pthread_mutex_unlock(&registry_lock);
}

/* Several times a request: no printf, and pieces of a value at once. */
static void append_label(struct buf *out, const char *name, const char *value)
{
	if (out->len)
		buf_append_char(out, ',');
	buf_append_str(out, name);
	buf_append(out, "=\"", 2);
	for (const char *p = str_or(value, ""); *p;) {
		size_t plain = strcspn(p, "\n\"\\");
		buf_append(out, p, plain);
		p += plain;
		if (*p == '\n')
			buf_append(out, "\\n", 2);
		else if (*p)
			buf_append(out, (char[]){'\\', *p}, 2);
		p += *p != '\0';
	}
	buf_append_char(out, '"');
}

static void append_labels(struct buf *out, const struct metric *metric, const char *const *values)
{
	for (size_t i = 0; metric->labels && metric->labels[i]; i++)
		append_label(out, metric->labels[i], values ? allowed_value(metric, metric->labels[i], values[i]) : "other");
}

/*
 * What this thread found last under such values: most requests ask for a few series again and again, and to find one anew takes its text and the lock that all
 * threads share. Series live as long as the process, so an entry is never wrong.
 */
enum { RECENT_BITS = 6, RECENT_VALUES = 96 };
static __thread struct recent {
	const struct metric *metric;
	struct metric_series *series;
	size_t len;
	char values[RECENT_VALUES];
} recent[1 << RECENT_BITS];

/* Each value with the zero behind it. 0: there is no room. */
static size_t join(char joined[static RECENT_VALUES], const struct metric *metric, const char *const *values)
{
	size_t len = 0;
	for (size_t i = 0; metric->labels && metric->labels[i]; i++) {
		size_t n = strlen(values[i]) + 1;
		if (n > RECENT_VALUES - len)
			return 0;
		memcpy(joined + len, values[i], n);
		len += n;
	}
	return len;
}

static struct recent *recent_slot(const struct metric *metric, const char *joined, size_t len)
{
	uint64_t hash = (uintptr_t)metric, word;
	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, joined + i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
	}
	word = 0;
	memcpy(&word, joined + len - len % sizeof(word), len % sizeof(word));
	hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
	return &recent[hash >> (64 - RECENT_BITS)];
}

static struct metric_series *find_series(struct metric *metric, const char *const *values);

struct metric_series *metric_with(struct metric *metric, const char *const *values)
{
	char joined[RECENT_VALUES];
	size_t len = join(joined, metric, values);
	if (!len)
		return find_series(metric, values);
	struct recent *slot = recent_slot(metric, joined, len);
	if (slot->metric == metric && slot->len == len && memcmp(slot->values, joined, len) == 0)
		return slot->series;
	struct metric_series *series = find_series(metric, values);
	slot->metric = metric;
	slot->series = series;
	slot->len = len;
	memcpy(slot->values, joined, len);
	return series;
}

static struct metric_series *find_series(struct metric *metric, const char *const *values)
{
	struct metric_state *state = metric->state;
	if (!state)
		abort(); /* not registered */
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	buf_reserve(&text, 200);
	append_labels(&text, metric, values);
	pthread_mutex_lock(&state->lock);
	struct metric_series *series = map_get(&state->series, text.len ? text.data : "");
	if (!series && state->series.len >= METRIC_MAX_SERIES) {
		buf_reset(&text);
		append_labels(&text, metric, NULL);
		series = map_get(&state->series, text.len ? text.data : "");
	}
	if (!series) {
		size_t counts = metric->kind == METRIC_HISTOGRAM ? state->bucket_count + 1 : 0;
		series = xcalloc(1, sizeof(*series) + counts * sizeof(series->counts[0]));
		series->metric = metric;
		series->label_text = xstrdup(text.len ? text.data : "");
		map_set(&state->series, series->label_text, series);
	}
	pthread_mutex_unlock(&state->lock);
	return series;
}

static double to_double(uint64_t bits)
{
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint64_t to_bits(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static void add_double(uint64_t *word, double delta)
{
	uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(word, &old, to_bits(to_double(old) + delta), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void metric_add(struct metric_series *series, double delta)
{
	add_double(&series->value, delta);
}

void metric_set(struct metric_series *series, double value)
{
	__atomic_store_n(&series->value, to_bits(value), __ATOMIC_RELAXED);
}

void metric_observe_times(struct metric_series *series, double value, uint64_t times)
{
	size_t i = 0, count = series->metric->state->bucket_count;
	while (i < count && value > series->metric->buckets[i])
		i++;
	__atomic_add_fetch(&series->counts[i], times, __ATOMIC_RELAXED);
	add_double(&series->value, value * (double)times);
}

void metric_observe(struct metric_series *series, double value)
{
	metric_observe_times(series, value, 1);
}

void metrics_reset(void)
{
	pthread_mutex_lock(&registry_lock);
	for (size_t i = 0; i < registry_len; i++) {
		struct metric_state *state = registry[i]->state;
		if (registry[i]->kind == METRIC_GAUGE)
			continue;
		struct map_entry *e;
		pthread_mutex_lock(&state->lock);
		for (size_t n = 0; (e = map_next(&state->series, &n));) {
			struct metric_series *series = e->value;
			__atomic_store_n(&series->value, 0, __ATOMIC_RELAXED);
			for (size_t b = 0; registry[i]->kind == METRIC_HISTOGRAM && b <= state->bucket_count; b++)
				__atomic_store_n(&series->counts[b], 0, __ATOMIC_RELAXED);
		}
		pthread_mutex_unlock(&state->lock);
	}
	pthread_mutex_unlock(&registry_lock);
}

double metric_value(struct metric_series *series)
{
	return to_double(__atomic_load_n(&series->value, __ATOMIC_RELAXED));
}

void metrics_on_collect(void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&registry_lock);
	if (collector_count == MAX_COLLECTORS)
		abort(); /* a mistake in the program */
	collectors[collector_count].fn = fn;
	collectors[collector_count++].arg = arg;
	pthread_mutex_unlock(&registry_lock);
}

static void append_number(struct buf *out, double value)
{
	if (isnan(value))
		buf_append_str(out, "NaN");
	else if (isinf(value))
		buf_append_str(out, value > 0 ? "+Inf" : "-Inf");
	else if (value == floor(value) && fabs(value) < 1e15)
		buf_append_int(out, (int64_t)value);
	else {
		/* The shortest text that reads back as the same number. */
		char text[40];
		for (int digits = 6; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, value);
			if (strtod(text, NULL) == value)
				break;
		}
		buf_append_str(out, text);
	}
}

static void append_sample(struct buf *out, const char *name, const char *suffix, const char *labels, double value)
{
	buf_printf(out, "%s%s", name, suffix);
	if (*labels)
		buf_printf(out, "{%s}", labels);
	buf_append_char(out, ' ');
	append_number(out, value);
	buf_append_char(out, '\n');
}

static void append_histogram(struct buf *out, const struct metric_series *series)
{
	const struct metric *metric = series->metric;
	size_t buckets = metric->state->bucket_count;
	uint64_t total = 0;
	for (size_t i = 0; i <= buckets; i++) {
		total += __atomic_load_n(&series->counts[i], __ATOMIC_RELAXED);
		buf_printf(out, "%s_bucket{%s%sle=\"", metric->name, series->label_text, *series->label_text ? "," : "");
		append_number(out, i < buckets ? metric->buckets[i] : INFINITY);
		buf_append_str(out, "\"} ");
		buf_append_uint(out, total);
		buf_append_char(out, '\n');
	}
	append_sample(out, metric->name, "_sum", series->label_text, to_double(__atomic_load_n(&series->value, __ATOMIC_RELAXED)));
	append_sample(out, metric->name, "_count", series->label_text, (double)total);
}

static int compare_series(const void *a, const void *b)
{
	return strcmp((*(struct metric_series *const *)a)->label_text, (*(struct metric_series *const *)b)->label_text);
}

static void append_metric(struct buf *out, struct metric *metric)
{
	static const char *const kinds[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
	struct metric_state *state = metric->state;
	pthread_mutex_lock(&state->lock);
	size_t count = 0, pos = 0;
	autofree struct metric_series **sorted = xcalloc(state->series.len, sizeof(struct metric_series *));
	for (struct map_entry *e; (e = map_next(&state->series, &pos));)
		sorted[count++] = e->value;
	pthread_mutex_unlock(&state->lock);
	if (!count || map_has(&disabled, metric->name))
		return;
	qsort(sorted, count, sizeof(struct metric_series *), compare_series);
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, kinds[metric->kind]);
	for (size_t i = 0; i < count; i++) {
		if (metric->kind == METRIC_HISTOGRAM)
			append_histogram(out, sorted[i]);
		else
			append_sample(out, metric->name, "", sorted[i]->label_text, metric_value(sorted[i]));
	}
}

static void append_process(struct buf *out, const char *name, const char *kind, const char *help, double value)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
	append_sample(out, name, "", "", value);
}

static size_t count_fds(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count - 1; /* the folder's own */
}

/* Seconds since 1970 at which this process started: boot time plus field 22 of /proc/self/stat. */
static double start_time(void)
{
	unsigned long long ticks = 0;
	char line[1024] = "";
	FILE *file = fopen("/proc/self/stat", "re");
	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = '\0';
		fclose(file);
	}
	char *after_name = strrchr(line, ')');
	if (after_name && sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
		ticks = 0;
	struct timespec real, boot;
	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	double booted = (double)(real.tv_sec - boot.tv_sec) + (double)(real.tv_nsec - boot.tv_nsec) / 1e9;
	return booted + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* What all network devices of the process' namespace have carried at the level of IP: InOctets and OutOctets of IpExt. */
static void append_network(struct buf *out)
{
	static const char *const names[][3] = {
		{"InOctets", "process_network_receive_bytes_total", "Number of bytes received by the process over the network."},
		{"OutOctets", "process_network_transmit_bytes_total", "Number of bytes sent by the process over the network."},
	};
	char head[4096], values[4096];
	FILE *file = fopen("/proc/self/net/netstat", "re");
	while (file && fgets(head, sizeof(head), file) && fgets(values, sizeof(values), file)) {
		if (strncmp(head, "IpExt:", 6) != 0)
			continue;
		char *name_state, *value_state, *name = strtok_r(head, " \n", &name_state), *value = strtok_r(values, " \n", &value_state);
		for (; name && value; name = strtok_r(NULL, " \n", &name_state), value = strtok_r(NULL, " \n", &value_state))
			for (size_t i = 0; i < array_len(names); i++)
				if (strcmp(name, names[i][0]) == 0)
					append_process(out, names[i][1], "counter", names[i][2], strtod(value, NULL));
	}
	if (file)
		fclose(file);
}

static void append_own(struct buf *out)
{
	struct rusage usage;
	struct rlimit limit = {0};
	unsigned long long pages = 0, resident = 0;
	getrusage(RUSAGE_SELF, &usage);
	getrlimit(RLIMIT_NOFILE, &limit);
	FILE *file = fopen("/proc/self/statm", "re");
	if (file) {
		if (fscanf(file, "%llu %llu", &pages, &resident) != 2)
			pages = resident = 0;
		fclose(file);
	}
	double page = (double)sysconf(_SC_PAGESIZE);
	double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	append_process(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu);
	append_process(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", (double)limit.rlim_cur);
	append_process(out, "process_open_fds", "gauge", "Number of open file descriptors.", (double)count_fds());
	append_process(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", (double)resident * page);
	append_process(out, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", start_time());
	append_network(out);
	append_process(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", (double)pages * page);
	struct rlimit memory = {.rlim_cur = RLIM_INFINITY};
	getrlimit(RLIMIT_AS, &memory);
	append_process(out, "process_virtual_memory_max_bytes", "gauge", "Maximum amount of virtual memory available in bytes.", (double)memory.rlim_cur);
	struct utsname uts = {0};
	uname(&uts);
	buf_append_str(out, "# HELP kubernetes_build_info Version this program was built as and the C compiler used.\n"
			    "# TYPE kubernetes_build_info gauge\n");
	buf_printf(out, "kubernetes_build_info{build_date=\"\",compiler=\"%s\",git_commit=\"\",git_tree_state=\"\",git_version=\"v" CORACLE_VERSION "\",go_version=\"\",major=\"1\",minor=\"36\",platform=\"linux/%s\"} 1\n",
#ifdef __clang__
		"clang"
#else
		"gcc"
#endif
		, strcmp(uts.machine, "x86_64") == 0 ? "amd64" : strcmp(uts.machine, "aarch64") == 0 ? "arm64" : uts.machine);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct metric *const *)a)->name, (*(struct metric *const *)b)->name);
}

void metrics_write(struct buf *out)
{
	pthread_mutex_lock(&registry_lock);
	size_t collect = collector_count, count = registry_len;
	autofree struct metric **sorted = xmemdup(registry, count * sizeof(registry[0]));
	pthread_mutex_unlock(&registry_lock);
	for (size_t i = 0; i < collect; i++)
		collectors[i].fn(collectors[i].arg);
	qsort(sorted, count, sizeof(struct metric *), compare_names);
	for (size_t i = 0; i < count; i++)
		append_metric(out, sorted[i]);
	append_own(out);
}
