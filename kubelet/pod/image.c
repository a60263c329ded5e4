/* SPDX-License-Identifier: Apache-2.0 */
/* Images of containers: looked up, pulled by policy, with back-off. */
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "kubelet/credential/provider.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/pulled.h"
#include "kubelet/volume/token.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#define BACKOFF_FIRST (10 * NSEC_PER_SEC)
#define BACKOFF_MAX (300 * NSEC_PER_SEC)
#define MAX_AUTH (1u << 20)
#define PULL_TIMEOUT_MS (30 * 60 * 1000)

static int fail(struct slot *slot, const char *reason, const char *message) {
	slot_wait(slot, reason, message);
	return -EAGAIN;
}

/* ---- credentials, and whose they are ---- */

/* Merges the "auths" of one secret into `auths`; the older dockercfg form is the bare map. */
static void merge_secret(json_t *auths, const struct core_v1_secret *secret) {
	for api_list_each (e, &secret->data) {
		bool config = str_equal(e->key, ".dockerconfigjson"), old = str_equal(e->key, ".dockercfg");
		json_t *root = config || old ? json_loadb((const char *)e->value.data, e->value.len, 0, NULL) : NULL;
		json_t *found = config ? json_object_get(root, "auths") : root;
		if (json_is_object(found))
			json_object_update_missing(auths, found);
		json_decref(root);
	}
}

/* The node's own credentials, where Kubernetes looks for them. */
static void merge_node_files(struct kubelet *kubelet, json_t *auths) {
	const char *home = getenv("HOME");
	autofree char *own = path_join(kubelet->options.root_dir, "config.json", NULL), *user = path_join(str_empty(home) ? "/root" : home, ".docker/config.json", NULL);
	const char *const paths[] = {own, user, "/.docker/config.json"};
	for (size_t i = 0; i < array_len(paths); i++) {
		autofree char *text = NULL;
		size_t len;
		json_t *root = file_read(AT_FDCWD, paths[i], MAX_AUTH, &text, &len, NULL) == 0 ? json_loadb(text, len, 0, NULL) : NULL;
		json_t *found = json_object_get(root, "auths");
		if (json_is_object(found))
			json_object_update_missing(auths, found);
		json_decref(root);
	}
}

/* The entry for a repository: that of the longest path which leads to it; NULL: none. */
static json_t *entry_for(json_t *auths, const char *repository) {
	json_t *entry, *best = NULL;
	const char *key;
	size_t best_len = 0;
	json_object_foreach(auths, key, entry) {
		const char *from = strstr(key, "://");
		from = from ? from + 3 : key;
		size_t len = strlen(from);
		const char *const tails[] = {"/", "/v1", "/v2"};
		for (size_t i = 0; i < array_len(tails); i++) {
			size_t tail = strlen(tails[i]);
			if (len > tail && strncmp(from + len - tail, tails[i], tail) == 0)
				len -= tail;
		}
		bool docker = len == strlen("index.docker.io") && strncmp(from, "index.docker.io", len) == 0;
		bool leads = docker ? str_starts_with(repository, "docker.io/") : strncmp(repository, from, len) == 0 && (!repository[len] || repository[len] == '/');
		if (leads && len > best_len) {
			best = entry;
			best_len = len;
		}
	}
	return best;
}

/* As pulled.h has it. Takes nothing over. */
static json_t *secret_as_known(const struct core_v1_secret *secret, json_t *entry) {
	char hash[65];
	autofree char *text = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);
	sha256_hex(text, strlen(text), hash);
	return json_pack("{s:s,s:s,s:s,s:s}", "uid", secret->metadata.uid, "namespace", secret->metadata.namespace, "name", secret->metadata.name, "credentialHash", hash);
}

/* One of its lists with one entry. */
static json_t *known_by(const char *list, json_t *take_item) {
	return json_pack("{s:[o]}", list, take_item);
}

static json_t *account_as_known(const struct core_v1_pod *object) {
	return json_pack("{s:s,s:s}", "namespace", object->metadata.namespace, "name", object->spec.service_account_name);
}

static bool has_account(const struct pod *pod, const struct core_v1_pod *object) {
	return !str_empty(object->spec.service_account_name) && credential_providers_ask_for_accounts(pod->kubelet->credentials);
}

/* All that a pod could pull an image with, as pulled.h has it. The caller unrefs. */
static json_t *brings(struct pod *pod, const struct core_v1_pod *object, const char *repository) {
	json_t *out = json_object(), *secrets = json_array();
	for api_list_each (reference, &object->spec.image_pull_secrets) {
		autounref struct core_v1_secret *secret = NULL;
		if (pod->kubelet->objects->get(pod->kubelet->objects, &api_secrets, pod->ns, reference->name, (void **)&secret, NULL) < 0)
			continue;
		json_t *auths = json_object(), *entry;
		merge_secret(auths, secret);
		if ((entry = entry_for(auths, repository)))
			json_array_append_new(secrets, secret_as_known(secret, entry));
		json_decref(auths);
	}
	json_object_set_new(out, "kubernetesSecrets", secrets);
	if (has_account(pod, object))
		json_object_set_new(out, "kubernetesServiceAccounts", json_pack("[o]", account_as_known(object)));
	return out;
}

#define TOKEN_SECONDS 3600

struct puller { /* what stands behind the arg of a credential_pod */
	struct kubelet *kubelet;
	const struct core_v1_pod *object;
};

static int read_account(const struct credential_pod *pod, struct core_v1_service_account **ret, struct error *err) {
	const struct puller *puller = pod->arg;
	if (!puller->kubelet->client)
		return error_set(err, EIO, "there is no API server");
	return client_get(puller->kubelet->client, &api_serviceaccounts, puller->object->metadata.namespace, pod->account, (void **)ret, err);
}

static int get_token(const struct credential_pod *pod, const char *audience, char **ret, struct error *err) {
	const struct puller *puller = pod->arg;
	int64_t refresh;
	if (!puller->kubelet->tokens)
		return error_set(err, EIO, "there is no API server");
	return token_cache_get(puller->kubelet->tokens, puller->object, audience, TOKEN_SECONDS, ret, &refresh, err);
}

/*
 * A docker config.json of the pod's pull secrets and the node's credentials; NULL where there are none. Secret number `first` comes
 * first: of several for one registry it wins; past the last, none of them counts. The caller frees. *ret_used: whose that is which is for the
 * repository, as pulled.h has it; the caller unrefs.
 */
static char *pull_auth(struct pod *pod, const struct core_v1_pod *object, const char *repository, uint32_t first, json_t **ret_used) {
	json_t *root = json_object(), *auths = json_object(), *used = NULL, *entry = NULL;
	json_object_set_new(root, "auths", auths);
	autobuf struct buf missing = BUF_INIT(4096);
	uint32_t count = object->spec.image_pull_secrets.len;
	for (uint32_t i = 0; first < count && i < count; i++) {
		const struct core_v1_local_object_reference *reference = &object->spec.image_pull_secrets.items[(first + i) % count];
		autounref struct core_v1_secret *secret = NULL;
		if (pod->kubelet->objects->get(pod->kubelet->objects, &api_secrets, pod->ns, reference->name, (void **)&secret, NULL) < 0) {
			buf_printf(&missing, "%s%s", missing.len ? ", " : "", reference->name);
			continue;
		}
		merge_secret(auths, secret);
		json_t *now = entry_for(auths, repository);
		if (now && now != entry) {
			json_decref(used);
			used = known_by("kubernetesSecrets", secret_as_known(secret, now));
			entry = now;
		}
	}
	merge_node_files(pod->kubelet, auths);
	json_t *of_node = entry_for(auths, repository);
	struct puller puller = {pod->kubelet, object};
	const struct credential_pod whose = {object->spec.service_account_name, read_account, get_token, &puller};
	credential_providers_add(pod->kubelet->credentials, repository, &whose, auths);
	json_t *last = entry_for(auths, repository);
	if (last != entry) {
		json_decref(used);
		used = last != of_node && has_account(pod, object) ? known_by("kubernetesServiceAccounts", account_as_known(object)) : NULL;
	}
	*ret_used = used ? used : json_object();
	if (missing.len && first == 0)
		kubelet_event(pod->kubelet, object, NULL, "Warning", "FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", missing.data);
	char *text = json_object_size(auths) ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}

static bool is_insecure(struct kubelet *kubelet, const char *repository) {
	for (size_t i = 0; i < kubelet->options.insecure_registries.len; i++) {
		const char *host = kubelet->options.insecure_registries.items[i];
		size_t len = strlen(host);
		if (len && strncmp(repository, host, len) == 0 && repository[len] == '/')
			return true;
	}
	return false;
}

static void raise_backoff(struct pull_wait *wait, const char *image, const char *reason, const char *message) {
	if (!str_equal(wait->image, image))
		wait->backoff_ns = 0;
	free(wait->image);
	wait->image = xstrdup(image);
	wait->backoff_ns = wait->backoff_ns ? min_of(wait->backoff_ns * 2, BACKOFF_MAX) : BACKOFF_FIRST;
	wait->next = clock_monotonic_ns() + wait->backoff_ns;
	free(wait->error);
	wait->error = xprintf("%s: %s", reason, message);
}

int64_t slot_pull_next(const struct slot *slot) {
	return slot->pull.backoff_ns ? slot->pull.next : slot->volume_pull.backoff_ns ? slot->volume_pull.next : 0;
}

/* An image that somebody needs. */
struct need {
	const char *image, *policy;
	const char *field; /* that events are about; NULL: the pod */
	struct pull_wait *wait;
	char **id; /* gets the ID of what was found; may be NULL */
};

static void found(const struct need *need, const struct image *image) {
	if (str_equal(need->wait->image, need->image))
		need->wait->backoff_ns = 0;
	if (need->id) {
		free(*need->id);
		*need->id = xstrdup(image->id);
	}
}

/* Pulls under way, and the turn of those that wait. */
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_free = PTHREAD_COND_INITIALIZER;
static int64_t pulling;

/*
 * How long a pull is to wait for the rate: each takes its place in the row at once. `saved` is what may go without waiting, below zero so many are
 * before it. At most `burst` are saved up, `qps` a second.
 */
int64_t image_rate_wait_ns(struct image_rate *rate, int64_t qps, int64_t burst, int64_t now) {
	if (!qps)
		return 0;
	double most = (double)max_of(burst, (int64_t)1);
	rate->saved = rate->began ? min_of(most, rate->saved + (double)(now - rate->at) / NSEC_PER_SEC * (double)qps) : most;
	rate->began = true;
	rate->at = now;
	rate->saved -= 1;
	return rate->saved < 0 ? (int64_t)(-rate->saved / (double)qps * NSEC_PER_SEC) : 0;
}

static void turn_begin(const struct kubelet_options *options, int cancel_fd) {
	static struct image_rate rate;
	int64_t most = options->serialize_image_pulls ? 1 : options->max_parallel_image_pulls;
	struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
	pthread_mutex_lock(&turn_lock);
	int64_t wait = image_rate_wait_ns(&rate, options->registry_qps, options->registry_burst, clock_monotonic_ns());
	pthread_mutex_unlock(&turn_lock);
	if (wait)
		poll(&cancel, 1, (int)min_of(wait / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX));
	pthread_mutex_lock(&turn_lock);
	while (most && pulling >= most)
		pthread_cond_wait(&turn_free, &turn_lock);
	pulling++;
	pthread_mutex_unlock(&turn_lock);
}

static void turn_end(void) {
	pthread_mutex_lock(&turn_lock);
	pulling--;
	pthread_cond_signal(&turn_free);
	pthread_mutex_unlock(&turn_lock);
}

static int pull(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const struct need *need, const struct image_reference *parsed) {
	const char *image = need->image, *field = need->field;
	autoerror struct error err = {0};
	autoimage struct image *pulled = NULL;
	struct kubelet *kubelet = pod->kubelet;
	struct image_pull_options options = {
		.policy_path = str_empty(kubelet->options.image_policy) ? NULL : kubelet->options.image_policy,
		.registries_dir = str_empty(kubelet->options.registry_certs_dir) ? NULL : kubelet->options.registry_certs_dir,
		.insecure = is_insecure(kubelet, parsed->repository),
		.cancel_fd = &pod->cancel_fd,
		.timeout_ms = PULL_TIMEOUT_MS,
	};
	kubelet_event(kubelet, object, field, "Normal", "Pulling", "Pulling image \"%s\"", image);
	int64_t waited = clock_monotonic_ns();
	turn_begin(&kubelet->options, pod->cancel_fd);
	int64_t began = clock_monotonic_ns();
	json_t *used = NULL;
	int r = pulled_intend(kubelet, image, &err) < 0 ? -EIO : -EACCES;
	for (uint32_t first = 0; r == -EACCES && first <= object->spec.image_pull_secrets.len; first++) {
		json_decref(used);
		autofree char *auth = pull_auth(pod, object, parsed->repository, first, &used);
		/* Others than the secrets come last, where there are any. */
		if (first && first == object->spec.image_pull_secrets.len && !auth)
			break;
		options.auth_json = auth;
		error_done(&err);
		r = image_pull(kubelet->images, image, &options, &pulled, &err);
	}
	int64_t ended = clock_monotonic_ns();
	turn_end();
	pulled_end(kubelet, image, parsed->repository, r == 0 ? pulled->id : NULL, used);
	json_decref(used);
	if (r < 0) {
		const char *reason = str_or(err.reason, "ErrImagePull");
		const char *message = error_message(&err);
		kubelet_event(kubelet, object, field, "Warning", "Failed", "Failed to pull image \"%s\": %s", image, message);
		raise_backoff(need->wait, image, reason, message);
		return fail(slot, reason, message);
	}
	char took[40], total[40];
	duration_format((ended - began) / NSEC_PER_MSEC * NSEC_PER_MSEC, took);
	duration_format((ended - waited) / NSEC_PER_MSEC * NSEC_PER_MSEC, total);
	kubelet_event(kubelet, object, field, "Normal", "Pulled", "Successfully pulled image \"%s\" in %s (%s including waiting). Image size: %llu bytes.", image, took, total, (unsigned long long)pulled->size);
	found(need, pulled);
	return 0;
}

static bool may_use(struct pod *pod, const struct core_v1_pod *object, const char *image, const char *repository, const char *id) {
	json_t *with = brings(pod, object, repository);
	bool may = pulled_allows(pod->kubelet, image, repository, id, with);
	json_decref(with);
	return may;
}

static int ensure(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const struct need *need) {
	const char *image = need->image, *field = need->field;
	struct image_reference parsed = {0};
	autoerror struct error err = {0};
	autoimage struct image *have = NULL;
	autofree char *message = NULL;
	if (image_reference_parse(image, &parsed, &err) < 0) {
		message = xprintf("Failed to apply default image tag \"%s\": %s", image, error_message(&err));
		kubelet_event(pod->kubelet, object, field, "Warning", "InspectFailed", "%s", message);
		return fail(slot, "InvalidImageName", message);
	}
	int r = str_equal(need->policy, CORE_V1_PULL_POLICY_ALWAYS) ? -ENOENT : image_get(pod->kubelet->images, image, &have, &err);
	/* One that is not for this pod is not shown to be here. */
	if (r == 0 && !may_use(pod, object, image, parsed.repository, have->id))
		r = -ENOENT;
	if (r == 0) {
		found(need, have);
		kubelet_event(pod->kubelet, object, field, "Normal", "Pulled", "Container image \"%s\" already present on machine and can be accessed by the pod", image);
	} else if (str_equal(need->policy, CORE_V1_PULL_POLICY_NEVER)) {
		message = xprintf("Container image \"%s\" is not present with pull policy of Never", image);
		kubelet_event(pod->kubelet, object, field, "Warning", "ErrImageNeverPull", "%s", message);
		r = fail(slot, "ErrImageNeverPull", message);
	} else if (need->wait->backoff_ns && str_equal(need->wait->image, image) && clock_monotonic_ns() < need->wait->next) {
		kubelet_event(pod->kubelet, object, field, "Normal", "BackOff", "Back-off pulling image \"%s\"", image);
		message = xprintf("Back-off pulling image \"%s\": %s", image, str_or(need->wait->error, ""));
		r = fail(slot, "ImagePullBackOff", message);
	} else {
		r = pull(pod, object, slot, need, &parsed);
	}
	image_reference_done(&parsed);
	return r;
}

static bool mounts(const struct core_v1_container *container, const char *volume) {
	for api_list_each (mount, &container->volume_mounts)
		if (str_equal(mount->name, volume))
			return true;
	return false;
}

int pod_ensure_images(struct pod *pod, struct core_v1_pod *object, struct slot *slot) {
	autofree char *field = slot_field_path(slot);
	const struct need own = {.image = str_or(slot->spec->image, ""), .policy = slot->spec->image_pull_policy, .field = field, .wait = &slot->pull, .id = &slot->image_id};
	int r = ensure(pod, object, slot, &own);
	for (uint32_t i = 0; r == 0 && i < object->spec.volumes.len; i++) {
		const struct core_v1_volume *volume = &object->spec.volumes.items[i];
		if (!volume->image || !mounts(slot->spec, volume->name))
			continue;
		const struct need mounted = {.image = str_or(volume->image->reference, ""), .policy = volume->image->pull_policy, .wait = &slot->volume_pull};
		r = ensure(pod, object, slot, &mounted);
	}
	if (r < 0)
		kubelet_event(pod->kubelet, object, field, "Warning", "Failed", "Error: %s", slot->waiting_reason);
	return r;
}
