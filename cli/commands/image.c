/* SPDX-License-Identifier: Apache-2.0 */
/* `coracle image`: the node's image store, without a cluster. The kubelet may work on the same folder at the same time. */
#include "cli/commands/commands.h"

#include "common/base/file.h"
#include "common/image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_AUTH_FILE (1 << 20)

struct image_options {
	struct cli_globals globals;
	char *root, *name;
	char *authfile, *creds, *policy, *certs;
	bool insecure_registry, quiet, no_trunc;
	int64_t timeout_ns;
};
#define O(member) offsetof(struct image_options, member)
#define ROOT_FLAG {"root", 0, FLAG_STRING, O(root), IMAGE_ROOT_DEFAULT, "Folder of the image store", 0, 0}

static const struct flag list_flags[] = {
	ROOT_FLAG,
	{"quiet", 'q', FLAG_BOOL, O(quiet), NULL, "Only IDs", 0, 0},
	{"no-trunc", 0, FLAG_BOOL, O(no_trunc), NULL, "Whole IDs", 0, 0},
};
static const struct flag load_flags[] = {
	ROOT_FLAG,
	{"name", 0, FLAG_STRING, O(name), NULL, "Name for an image that the archive does not name", 0, 0},
};
static const struct flag pull_flags[] = {
	ROOT_FLAG,
	{"authfile", 0, FLAG_STRING, O(authfile), NULL, "File with credentials, as docker's config.json", 0, 0},
	{"creds", 0, FLAG_STRING, O(creds), NULL, "File that holds USER:PASSWORD; - is standard input", 0, 0},
	{"policy", 0, FLAG_STRING, O(policy), NULL, "Signature policy; the system's where not given", 0, 0},
	{"certs-dir", 0, FLAG_STRING, O(certs), NULL, "Folder with certificates in folders named by registry", 0, 0},
	{"insecure-registry", 0, FLAG_BOOL, O(insecure_registry), NULL, "Allow plain HTTP and unverified TLS", 0, 0},
	{"timeout", 0, FLAG_DURATION, O(timeout_ns), "0s", "Give up after this time; 0 is never", 0, 0},
	{"quiet", 'q', FLAG_BOOL, O(quiet), NULL, "Only the ID", 0, 0},
};
static const struct flag plain_flags[] = {ROOT_FLAG};

static int open_store(const struct image_options *options, struct image_store **ret, struct error *err)
{
	return image_store_open(options->root, ret, err);
}

/* ---- list ---- */

static void format_size(uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 1000 && unit + 1 < array_len(units)) {
		value /= 1000;
		unit++;
	}
	snprintf(out, size, value < 10 && unit ? "%.2f%s" : value < 100 && unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

static void print_row(const struct image_options *options, const struct image *image, const char *name, const char *tag)
{
	char size[32], age[40];
	format_size(image->size, size, sizeof(size));
	duration_format_human(time_diff_ns(clock_wall(), image->loaded) / NSEC_PER_SEC, age);
	printf("%-50s %-20s %-*.*s %-10s %s\n", name, tag, options->no_trunc ? 64 : 12, options->no_trunc ? 64 : 12, image->id + 7, size, age);
}

static void print_image(const struct image_options *options, const struct image *image)
{
	if (options->quiet) {
		printf("%s\n", image->id);
		return;
	}
	for (size_t i = 0; image->tags[i]; i++) {
		char *colon = strrchr(image->tags[i], ':');
		autofree char *name = xstrndup(image->tags[i], (size_t)(colon - image->tags[i]));
		print_row(options, image, name, colon + 1);
	}
	if (!image->tags[0]) {
		autofree char *name = image->digests[0] ? xstrndup(image->digests[0], strcspn(image->digests[0], "@")) : xstrdup("<none>");
		print_row(options, image, name, "<none>");
	}
}

static int run_list(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct image_options *options = arg;
	struct image_store *store;
	struct image_list list;
	int r = open_store(options, &store, err);
	if (r < 0)
		return r;
	r = image_list(store, &list, err);
	if (r == 0) {
		if (!options->quiet)
			printf("%-50s %-20s %-*s %-10s %s\n", "IMAGE", "TAG", options->no_trunc ? 64 : 12, "IMAGE ID", "SIZE", "AGE");
		for (size_t i = 0; i < list.len; i++)
			print_image(options, list.items[i]);
		image_list_done(&list);
	}
	image_store_close(store);
	return r;
}

/* ---- load, pull ---- */

static int run_load(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct image_options *options = arg;
	if (!args->len)
		return cli_usage_error(err, "image load needs an archive or a folder in OCI layout");
	struct image_store *store;
	int r = open_store(options, &store, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < args->len; i++) {
		struct image_list list = {0};
		r = image_load(store, args->items[i], str_empty(options->name) ? NULL : options->name, &list, err);
		for (size_t n = 0; r == 0 && n < list.len; n++)
			printf("loaded %s\n", list.items[n]->tags[0] ? list.items[n]->tags[0] : list.items[n]->id);
		image_list_done(&list);
	}
	image_store_close(store);
	return r;
}

/* A password stands in a file, never on the command line. */
static int read_credentials(const char *path, char **ret_user, char **ret_password, struct error *err)
{
	autofree char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, strcmp(path, "-") == 0 ? "/dev/stdin" : path, 4096, &text, &len, err);
	if (r < 0)
		return r;
	text[strcspn(text, "\r\n")] = 0;
	char *colon = strchr(text, ':');
	if (!colon)
		return error_set(err, EINVAL, "%s does not hold USER:PASSWORD", path);
	*ret_user = xstrndup(text, (size_t)(colon - text));
	*ret_password = xstrdup(colon + 1);
	return 0;
}

static int run_pull(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct image_options *options = arg;
	if (args->len != 1)
		return cli_usage_error(err, "image pull needs one name");
	autofree char *auth = NULL, *user = NULL, *password = NULL;
	size_t len;
	int r = str_empty(options->authfile) ? 0 : file_read(AT_FDCWD, options->authfile, MAX_AUTH_FILE, &auth, &len, err);
	if (r == 0 && !str_empty(options->creds))
		r = read_credentials(options->creds, &user, &password, err);
	if (r < 0)
		return r;
	struct image_pull_options pull = {
		.username = user,
		.password = password,
		.auth_json = auth,
		.policy_path = str_empty(options->policy) ? NULL : options->policy,
		.registries_dir = str_empty(options->certs) ? NULL : options->certs,
		.insecure = options->insecure_registry,
		.timeout_ms = (int)min_of(options->timeout_ns / NSEC_PER_MSEC, (int64_t)INT32_MAX),
	};
	struct image_store *store;
	r = open_store(options, &store, err);
	if (r < 0)
		return r;
	autoimage struct image *image = NULL;
	r = image_pull(store, args->items[0], &pull, &image, err);
	if (r == 0)
		printf(options->quiet ? "%s\n" : "pulled %s\n", options->quiet ? image->id : image_status_id(image));
	image_store_close(store);
	return r;
}

/* ---- remove, tag, prune ---- */

static int run_remove(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	if (!args->len)
		return cli_usage_error(err, "image remove needs names or IDs");
	struct image_store *store;
	int r = open_store(arg, &store, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < args->len; i++) {
		r = image_remove(store, args->items[i], NULL, err);
		if (r == 0)
			printf("removed %s\n", args->items[i]);
	}
	image_store_close(store);
	return r;
}

static int run_tag(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	if (args->len != 2)
		return cli_usage_error(err, "image tag needs an image and its new name");
	struct image_store *store;
	int r = open_store(arg, &store, err);
	if (r < 0)
		return r;
	r = image_tag(store, args->items[0], args->items[1], err);
	image_store_close(store);
	return r;
}

static int set_pinned(void *arg, const struct flag_list *args, bool pinned, struct error *err)
{
	struct image_store *store;
	if (!args->len)
		return cli_usage_error(err, "name at least one image");
	int r = open_store(arg, &store, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < args->len; i++)
		r = image_set_pinned(store, args->items[i], pinned, err);
	image_store_close(store);
	return r;
}

static int run_pin(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return set_pinned(arg, args, true, err);
}

static int run_unpin(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return set_pinned(arg, args, false, err);
}

static int run_prune(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct image_store *store;
	int r = open_store(arg, &store, err);
	if (r < 0)
		return r;
	uint64_t freed = 0;
	char size[32];
	r = image_collect(store, UINT64_MAX, 0, 0, &freed, err);
	format_size(freed, size, sizeof(size));
	if (r == 0)
		printf("freed %s\n", size);
	image_store_close(store);
	return r;
}

#define COMMAND(variable, verb, other, arguments, text, rows, function)                                                                \
	static const struct cli_command variable = {.name = verb, .alias = other, .usage = arguments, .summary = text, .flags = rows,    \
		.flag_count = array_len(rows), .options_size = sizeof(struct image_options), .run = function}

COMMAND(image_list_command, "list", "ls", "", "List the images of this node", list_flags, run_list);
COMMAND(image_load_command, "load", NULL, "FILE...", "Load images from docker or OCI archives", load_flags, run_load);
COMMAND(image_pull_command, "pull", NULL, "NAME", "Pull an image from a registry", pull_flags, run_pull);
COMMAND(image_remove_command, "remove", "rm", "(NAME | ID)...", "Remove names, and images with their last name", plain_flags, run_remove);
COMMAND(image_tag_command, "tag", NULL, "(NAME | ID) NAME", "Give an image one more name", plain_flags, run_tag);
COMMAND(image_pin_command, "pin", NULL, "(NAME | ID)...", "Keep images from ever being collected", plain_flags, run_pin);
COMMAND(image_unpin_command, "unpin", NULL, "(NAME | ID)...", "Let images be collected again", plain_flags, run_unpin);
COMMAND(image_prune_command, "prune", NULL, "", "Remove all images that no container uses", plain_flags, run_prune);

const struct cli_command command_image = {
	.name = "image",
	.summary = "Manage the images of this node",
	.children = (const struct cli_command *const[]){&image_list_command, &image_load_command, &image_pull_command, &image_remove_command,
		&image_tag_command, &image_pin_command, &image_unpin_command, &image_prune_command, NULL},
};
