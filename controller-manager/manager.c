/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/manager.h"

#include "common/base/metrics.h"
#include "common/client/events.h"
#include "controller-manager/accounts.h"
#include "controller-manager/shared/owners.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#define BATCH_THREADS 24      /* each create waits for etcd */
#define ACCOUNT_RETRY_MS 1000
#define STUCK_NS (900 * NSEC_PER_SEC) /* no key takes so long; a worker that does is stuck */
#define LULL_SHARE 20          /* of the silence that makes a node Unknown */
#define CONFLICT_RETRY_MS 20 /* by then the cache has seen the other's write */

/* One controller. Its world is its own: it writes as its own account. */
struct running {
	struct world world;
	struct reconciler reconciler;
	struct client *client; /* borrowed */
	struct workers *workers;
	struct manager *manager;
};

/* Tells one watch of one controller of what happens in one cache. */
struct tap {
	struct running *running;
	const struct controller_watch *watch;
};

struct manager {
	struct manager_options options;
	struct accounts *accounts; /* NULL: all act as the manager */
	struct informer_set *informers;
	struct informer *caches[CACHED_COUNT];
	struct running *running; /* array, in the order of table.c */
	size_t running_count;
	struct tap **taps;
	size_t tap_count;
	pthread_mutex_t events_lock;
	struct map recorders; /* struct event_recorder by component */
	bool warm, stopped;
	bool started, stopping; /* atomic */
};

static struct running *running_of(struct world *world)
{
	return container_of(world, struct running, world);
}

/* ---- the live world ---- */

static struct informer *cache_of(struct world *world, enum cached what)
{
	struct informer *informer = running_of(world)->manager->caches[what];
	if (!informer) {
		log_error("a controller reads a cache that its row does not name", LOG_STR("resource", cached_resource(what)->plural));
		abort();
	}
	return informer;
}

static void *live_find(struct world *world, enum cached what, const char *ns, const char *name)
{
	return informer_find(cache_of(world, what), ns, name);
}

static void live_list(struct world *world, enum cached what, const char *index, const char *value, struct informer_list *ret)
{
	if (index)
		informer_list_index(cache_of(world, what), index, value, ret);
	else
		informer_list_all(cache_of(world, what), ret);
}

static bool live_last_beat(struct world *world, enum cached what, const char *ns, const char *name, struct informer_beat *ret)
{
	return informer_last_beat(cache_of(world, what), ns, name, ret);
}

static uint64_t live_version(struct world *world, enum cached what)
{
	return informer_resource_version(cache_of(world, what));
}

static int live_get(struct world *world, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err)
{
	return client_get(running_of(world)->client, resource, ns, name, ret, err);
}

/* Whoever cannot be sure to lead writes nothing. What slips through between this and the server is stopped there, by the fence. */
static int check_lead(const struct manager *manager, struct error *err)
{
	if (!manager->options.may_write || manager->options.may_write(manager->options.arg))
		return 0;
	return error_set(err, ECANCELED, "the leader's lease has not been renewed in time: nothing is written");
}

static int live_write(struct world *world, const struct write *w, void **ret, struct error *err)
{
	struct client *client = running_of(world)->client;
	int r = check_lead(running_of(world)->manager, err);
	if (r)
		return r;
	switch (w->verb) {
	case WRITE_CREATE:
		if (w->subresource)
			return client_post_subresource(client, w->resource, w->ns, w->name, w->subresource, w->object, api_type_of(w->object), ret, err);
		return client_create(client, w->resource, w->ns, w->object, ret, err);
	case WRITE_UPDATE:
		return client_update(client, w->resource, w->ns, w->object, w->subresource, ret, err);
	case WRITE_PATCH:
		if (w->manager)
			return client_apply(client, w->resource, w->ns, w->name, w->subresource, w->manager, w->patch, ret, err);
		return client_patch(client, w->resource, w->ns, w->name, w->subresource, w->content_type, w->patch, ret, err);
	case WRITE_DELETE:
		return client_delete(client, w->resource, w->ns, w->name, &w->delete_options, err);
	}
	return error_set(err, EINVAL, "unknown verb");
}

static int live_request(struct world *world, const struct client_request *request, struct buf *body, int *ret_status, struct error *err)
{
	int r = str_equal(request->method, "GET") ? 0 : check_lead(running_of(world)->manager, err);
	return r ? r : client_do(running_of(world)->client, request, body, ret_status, err);
}

static void record(struct manager *manager, struct client *client, const char *component, const void *object, const char *type, const char *reason, const char *message)
{
	pthread_mutex_lock(&manager->events_lock);
	struct event_recorder *recorder = map_get(&manager->recorders, component);
	if (!recorder) {
		recorder = event_recorder_new(client, component, NULL);
		map_set(&manager->recorders, component, recorder);
	}
	pthread_mutex_unlock(&manager->events_lock);
	event_record(recorder, object, NULL, type, reason, "%s", message);
}

static void live_event(struct world *world, const char *component, const void *object, const char *type, const char *reason, const char *message)
{
	record(running_of(world)->manager, running_of(world)->client, component, object, type, reason, message);
}

void manager_event(struct manager *manager, const void *object, const char *type, const char *reason, const char *message)
{
	record(manager, manager->options.client, "kube-controller-manager", object, type, reason, message);
}

static const struct world_ops live_ops = {
	.find = live_find,
	.list = live_list,
	.last_beat = live_last_beat,
	.version = live_version,
	.get = live_get,
	.write = live_write,
	.request = live_request,
	.event = live_event,
};

/* ---- keys ---- */

static void with_key(const char *ns, const char *name, void (*fn)(struct workqueue *, const char *, int64_t), struct workqueue *queue, int64_t after)
{
	if (str_empty(ns)) {
		fn(queue, name, after);
		return;
	}
	autofree char *key = xprintf("%s/%s", ns, name);
	fn(queue, key, after);
}

static void add_now(struct workqueue *queue, const char *key, int64_t after)
{
	workqueue_add(queue, key);
}

static void add_later(struct workqueue *queue, const char *key, int64_t after)
{
	workqueue_add_after(queue, key, after);
}

void reconciler_add(struct reconciler *r, const char *ns, const char *name)
{
	if (r->queue)
		with_key(ns, name, add_now, r->queue, 0);
}

void reconciler_add_after(struct reconciler *r, const char *ns, const char *name, int64_t after_ns)
{
	if (r->queue)
		with_key(ns, name, add_later, r->queue, after_ns);
}

void reconciler_add_owner(struct reconciler *r, const void *object, const char *kind)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct meta_v1_owner_reference *owner = owner_controller(meta);
	if (owner && str_equal(owner->kind, kind))
		reconciler_add(r, meta->namespace, owner->name);
}

const char *reconciler_component(const struct reconciler *r)
{
	return r->controller->component ? r->controller->component : r->controller->name;
}

int milliseconds_until(struct wall_time then)
{
	int64_t left = time_diff_ns(then, clock_wall()), ms = left / NSEC_PER_MSEC + (left % NSEC_PER_MSEC > 0);
	return ms < 1 ? 1 : ms > INT32_MAX ? INT32_MAX : (int)ms;
}

struct wall_time time_after(struct wall_time t, int64_t seconds)
{
	/* Who says so long means for ever. */
	if (__builtin_add_overflow(t.sec, seconds, &t.sec))
		t.sec = seconds < 0 ? INT64_MIN : INT64_MAX;
	return t;
}

struct reconciler reconciler_make(const struct controller *controller, struct world *world, struct client *client)
{
	metrics_register(controller->metrics, controller->metric_count);
	/* One without labels is there from the start, at nought. */
	for (size_t i = 0; i < controller->metric_count; i++)
		if (!controller->metrics[i].labels)
			metric_label(&controller->metrics[i]);
	return (struct reconciler){.controller = controller, .world = world, .client = client, .state = controller->state_new ? controller->state_new() : NULL};
}

/* ---- taps ---- */

static void wake(struct reconciler *r, const struct controller_watch *watch, const void *object)
{
	if (watch->wake) {
		watch->wake(r, object);
		return;
	}
	const struct meta_v1_object_meta *meta = api_metadata(object);
	reconciler_add(r, meta->namespace, meta->name);
}

void reconciler_observe(struct reconciler *r, const struct controller_watch *watch, const void *old_object, const void *object)
{
	if (!object) {
		if (watch->gone)
			watch->gone(r, old_object);
		else
			wake(r, watch, old_object);
		return;
	}
	/* Deleted and made again, and the cache was told only of the end. */
	if (old_object && watch->gone && !str_equal(api_metadata(old_object)->uid, api_metadata(object)->uid))
		watch->gone(r, old_object);
	if (old_object && watch->matters && !watch->matters(old_object, object))
		return;
	if (watch->wake && old_object && !watch->latest_only)
		wake(r, watch, old_object); /* what it concerned before: another owner, another node */
	wake(r, watch, object);
}

static void on_add(void *object, bool is_initial, void *arg)
{
	struct tap *tap = arg;
	reconciler_observe(&tap->running->reconciler, tap->watch, NULL, object);
}

static void on_update(void *old_object, void *object, void *arg)
{
	struct tap *tap = arg;
	reconciler_observe(&tap->running->reconciler, tap->watch, old_object, object);
}

static void on_delete(void *object, void *arg)
{
	struct tap *tap = arg;
	reconciler_observe(&tap->running->reconciler, tap->watch, object, NULL);
}

/* ---- life ---- */

static bool names(const struct controller *controller, const char *name)
{
	return str_equal(controller->name, name) || (controller->alias && str_equal(controller->alias, name));
}

bool controller_is_enabled(const struct controller *controller, const struct flag_list *wanted)
{
	bool star = false;
	for (size_t i = 0; i < wanted->len; i++) {
		const char *name = wanted->items[i];
		if (name[0] == '-' && names(controller, name + 1))
			return false;
		if (names(controller, name))
			return true;
		star |= str_equal(name, "*");
	}
	return star && !controller->off_by_default;
}

/* Controllers of Kubernetes that are of no use here: naming them is no mistake. */
static const char *const foreign_names[] = {"cloud-node-lifecycle-controller", "cloud-node-lifecycle", "node-route-controller", "route",
	"persistentvolume-binder-controller", "persistentvolume-binder", "persistentvolume-attach-detach-controller", "attachdetach", "persistentvolume-expander-controller",
	"persistentvolume-expander", "storageversion-garbage-collector-controller", "storage-version-gc",
	"selinux-warning-controller", "storage-version-migrator-controller", "svm",
	"kube-apiserver-serving-clustertrustbundle-publisher-controller", "podcertificaterequest-cleaner-controller", "resourcepoolstatusrequest-controller",
	"service-ca-certificate-publisher-controller", "service-ca-cert-publisher"};

int manager_check_names(const struct flag_list *wanted, struct error *err)
{
	for (size_t i = 0; i < wanted->len; i++) {
		const char *name = wanted->items[i][0] == '-' ? wanted->items[i] + 1 : wanted->items[i];
		bool known = str_equal(name, "*");
		for (size_t j = 0; j < controller_count && !known; j++)
			known = names(controllers[j], name);
		for (size_t j = 0; j < array_len(foreign_names) && !known; j++)
			known = str_equal(foreign_names[j], name);
		if (!known)
			return error_set(err, EINVAL, "--controllers: \"%s\" is no controller", name);
	}
	return 0;
}

/* Sets *open where the item ("name=value") is about this gate. */
static bool gate_item(const char *item, const char *gate, bool *open)
{
	size_t len = strlen(gate);
	if (strncmp(item, gate, len) != 0 || item[len] != '=')
		return false;
	*open = strcasecmp(item + len + 1, "true") == 0;
	return true;
}

/* Gates are open until they are closed; the last word counts. */
static bool gate_is_open(const struct controller *controller, const struct settings *settings)
{
	bool open = true;
	for (size_t i = 0; i < settings->feature_gates.len && controller->gate; i++)
		gate_item(settings->feature_gates.items[i], controller->gate, &open);
	return open;
}

static void warn_of_gates(const struct settings *settings)
{
	for (size_t i = 0; i < settings->feature_gates.len; i++) {
		bool known = false, open;
		for (size_t j = 0; j < controller_count && !known; j++)
			known = controllers[j]->gate && gate_item(settings->feature_gates.items[i], controllers[j]->gate, &open);
		if (!known)
			log_warning("feature gate has no effect here", LOG_STR("gate", settings->feature_gates.items[i]));
	}
}

int manager_check_settings(const struct settings *settings, struct error *err)
{
	for (size_t i = 0; i < controller_count; i++) {
		const struct controller *controller = controllers[i];
		bool runs = controller_is_enabled(controller, &settings->controllers) && (!controller->enabled || controller->enabled(settings));
		int r = runs && controller->check ? controller->check(settings, err) : 0;
		if (r)
			return r;
	}
	return 0;
}

static void free_recorder(void *recorder)
{
	event_recorder_free(recorder);
}

static void open_cache(struct manager *manager, enum cached what)
{
	if (manager->caches[what])
		return;
	struct informer_options options = cached_options(what) ? *cached_options(what) : (struct informer_options){0};
	/* What is heard late must be little beside the silence that is held against a node. */
	options.lull_ms = (int)min_of((int64_t)options.lull_ms, manager->options.settings->node_monitor_grace_period / NSEC_PER_MSEC / LULL_SHARE);
	manager->caches[what] = informer_get(manager->informers, cached_resource(what), &options);
	cached_add_indexes(what, manager->caches[what]);
}

static void tap_cache(struct manager *manager, struct running *running, const struct controller_watch *watch)
{
	open_cache(manager, watch->what);
	if (watch->read_only)
		return;
	struct tap *tap = xnew(struct tap);
	*tap = (struct tap){.running = running, .watch = watch};
	manager->taps = xreallocarray(manager->taps, manager->tap_count + 1, sizeof(tap));
	manager->taps[manager->tap_count++] = tap;
}

/* Not before it leads: a standby that queued what it sees would fill up with the names of what has long gone. The handler is told of all that is there. */
static void open_taps(struct manager *manager)
{
	autofree struct informer_handler *handlers = xcalloc(max_of(manager->tap_count, (size_t)1), sizeof(*handlers));
	for (enum cached what = CACHED_NONE + 1; what < CACHED_COUNT; what++) {
		size_t count = 0;
		for (size_t i = 0; i < manager->tap_count; i++)
			if (manager->taps[i]->watch->what == what)
				handlers[count++] = (struct informer_handler){.on_add = on_add, .on_update = on_update, .on_delete = on_delete, .arg = manager->taps[i]};
		if (count)
			informer_add_handlers(manager->caches[what], handlers, count);
	}
}

static void prepare(struct manager *manager, const struct controller *controller)
{
	struct running *running = &manager->running[manager->running_count++];
	running->manager = manager;
	running->client = manager->options.client;
	running->world = (struct world){.ops = &live_ops, .settings = manager->options.settings, .batch_threads = BATCH_THREADS};
	running->reconciler = reconciler_make(controller, &running->world, running->client);
	if (controller->workers)
		running->reconciler.queue = workqueue_new(&(struct workqueue_options){.name = str_or(controller->queue, controller->name),
			.base_delay_ns = controller->retry_first_ms * NSEC_PER_MSEC,
			.max_delay_ns = controller->retry_most_ms * NSEC_PER_MSEC});
}

static struct metric running_metric = {.name = "running_managed_controllers", .help = "Controllers that run here.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"manager", "name", NULL}};

struct manager *manager_new(const struct manager_options *options)
{
	struct manager *manager = xnew(struct manager);
	const struct settings *settings = options->settings;
	manager->options = *options;
	manager->informers = informer_set_new(options->client);
	manager->running = xcalloc(controller_count, sizeof(struct running));
	manager->recorders = MAP_INIT(free_recorder);
	pthread_mutex_init(&manager->events_lock, NULL);
	warn_of_gates(settings);
	metrics_register(&running_metric, 1);
	for (size_t i = 0; i < controller_count; i++) {
		const struct controller *controller = controllers[i];
		if (!controller_is_enabled(controller, &settings->controllers) || !gate_is_open(controller, settings))
			continue;
		if (controller->enabled && !controller->enabled(settings)) {
			log_info("controller is not set up by flags, so it does not run", LOG_STR("controller", controller->name));
			continue;
		}
		prepare(manager, controller);
	}
	for (size_t i = 0; i < manager->running_count; i++) {
		const struct controller_watch *watch = manager->running[i].reconciler.controller->watches;
		for (; watch && watch->what != CACHED_NONE; watch++)
			tap_cache(manager, &manager->running[i], watch);
	}
	return manager;
}

/* What was to be made has no place any more: the namespace takes its owner with it. */
static bool namespace_is_going(const struct error *err)
{
	for (size_t i = 0; i < err->cause_count; i++)
		if (str_equal(err->causes[i].reason, META_V1_CAUSE_TYPE_NAMESPACE_TERMINATING))
			return true;
	return false;
}

int reconciler_run(struct reconciler *reconciler, const char *key, struct error *err)
{
	const char *slash = strchr(key, '/');
	autofree char *ns = slash ? xstrndup(key, (size_t)(slash - key)) : NULL;
	autoerror struct error failed = {0};
	int r = reconciler->controller->reconcile(reconciler, ns, slash ? slash + 1 : key, &failed);
	if (r >= 0)
		return r;
	if (namespace_is_going(&failed))
		return 0;
	/* A name that is taken may stay so for long: that backs off as any other failure. */
	if (error_is(&failed, "Conflict")) {
		log_debug(4, "written by another meanwhile, looking again", LOG_STR("controller", reconciler->controller->name), LOG_STR("key", key),
			LOG_ERR(&failed));
		return CONFLICT_RETRY_MS;
	}
	if (failed.errnum)
		return error_move(err, &failed);
	return r;
}

static int reconcile_key(const char *key, void *arg, struct error *err)
{
	struct running *running = arg;
	if (__atomic_load_n(&running->manager->stopping, __ATOMIC_ACQUIRE))
		return 0; /* the next leader looks at everything */
	return reconciler_run(&running->reconciler, key, err);
}

void manager_collect(struct manager *manager)
{
	/* A standby counts nothing: what there is the leader tells. */
	for (size_t i = 0; i < manager->running_count && manager_is_running(manager); i++)
		if (manager->running[i].reconciler.controller->collect)
			manager->running[i].reconciler.controller->collect(&manager->running[i].reconciler);
}

static unsigned worker_count(const struct manager *manager, const struct controller *controller)
{
	for (size_t i = 0; i < controller_count; i++)
		if (controllers[i] == controller && manager->options.settings->workers[i] > 0)
			return (unsigned)manager->options.settings->workers[i];
	return controller->workers;
}

void manager_warm(struct manager *manager)
{
	if (!manager->warm)
		informer_set_start(manager->informers);
	manager->warm = true;
}

/* Returns false where cancel_fd became readable. */
static bool pause_for(int ms, int cancel_fd)
{
	struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
	return poll(&cancel, 1, ms) <= 0;
}

/* Each under its own account, where the flag says so. Tried until it works: a controller must not run with more rights than were meant for it. */
static bool take_accounts(struct manager *manager, const char *fence, int cancel_fd)
{
	client_set_fence(manager->options.client, fence);
	if (!manager->options.settings->use_service_account_credentials)
		return true;
	manager->accounts = accounts_new(manager->options.client, manager->options.config);
	for (size_t i = 0; i < manager->running_count; i++) {
		struct running *running = &manager->running[i];
		const char *account = running->reconciler.controller->account;
		autoerror struct error err = {0};
		if (!account)
			continue;
		while (accounts_client(manager->accounts, account, &running->client, &err)) {
			log_warning("the account of a controller cannot be used yet", LOG_STR("account", account), LOG_ERR(&err));
			error_done(&err);
			err = (struct error){0};
			if (!pause_for(ACCOUNT_RETRY_MS, cancel_fd))
				return false;
		}
		client_set_fence(running->client, fence);
		running->reconciler.client = running->client;
	}
	return true;
}

bool manager_start(struct manager *manager, const char *fence, int cancel_fd)
{
	manager_warm(manager);
	if (!informer_set_wait_synced(manager->informers, cancel_fd) || !take_accounts(manager, fence, cancel_fd))
		return false;
	for (size_t i = 0; i < manager->running_count; i++)
		if (manager->running[i].reconciler.controller->started)
			manager->running[i].reconciler.controller->started(&manager->running[i].reconciler);
	open_taps(manager);
	for (size_t i = 0; i < manager->running_count; i++) {
		struct running *running = &manager->running[i];
		const struct controller *controller = running->reconciler.controller;
		if (running->reconciler.queue)
			running->workers = workers_start(running->reconciler.queue, worker_count(manager, controller), reconcile_key, running);
		metric_set(metric_label(&running_metric, "kube-controller-manager", controller->name), 1);
		log_debug(1, "controller started", LOG_STR("controller", controller->name));
	}
	__atomic_store_n(&manager->started, true, __ATOMIC_RELEASE);
	return true;
}

bool manager_is_running(const struct manager *manager)
{
	return __atomic_load_n(&manager->started, __ATOMIC_ACQUIRE);
}

static bool is_lively(void *arg, struct error *err)
{
	struct running *running = arg;
	int64_t busy = running->reconciler.queue ? workqueue_longest_running_ns(running->reconciler.queue) : 0;
	if (busy < STUCK_NS)
		return true;
	error_set(err, EBUSY, "one key has been worked on for %lld s", (long long)(busy / NSEC_PER_SEC));
	return false;
}

void manager_each_check(struct manager *manager, void (*fn)(const char *name, bool (*check)(void *check_arg, struct error *err), void *check_arg, void *arg), void *arg)
{
	for (size_t i = 0; i < manager->running_count; i++)
		fn(manager->running[i].reconciler.controller->name, is_lively, &manager->running[i], arg);
}

void manager_stop(struct manager *manager)
{
	if (manager->stopped)
		return;
	manager->stopped = true;
	__atomic_store_n(&manager->stopping, true, __ATOMIC_RELEASE);
	/* All queues first, so that no worker waits behind another's long list. */
	for (size_t i = 0; i < manager->running_count; i++)
		if (manager->running[i].reconciler.queue)
			workqueue_shutdown(manager->running[i].reconciler.queue);
	for (size_t i = 0; i < manager->running_count; i++) {
		struct running *running = &manager->running[i];
		if (running->workers)
			workers_stop(running->workers);
		if (running->reconciler.controller->stopping)
			running->reconciler.controller->stopping(&running->reconciler);
	}
	/* What they had to say goes out before the lease does. */
	map_clear(&manager->recorders);
}

void manager_free(struct manager *manager)
{
	if (!manager)
		return;
	manager_stop(manager);
	informer_set_free(manager->informers);
	for (size_t i = 0; i < manager->running_count; i++) {
		struct reconciler *r = &manager->running[i].reconciler;
		workqueue_free(r->queue);
		if (r->controller->state_free)
			r->controller->state_free(r->state);
	}
	for (size_t i = 0; i < manager->tap_count; i++)
		free(manager->taps[i]);
	free(manager->taps);
	map_done(&manager->recorders);
	accounts_free(manager->accounts);
	pthread_mutex_destroy(&manager->events_lock);
	free(manager->running);
	free(manager);
}
