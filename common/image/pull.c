/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulling. First the manifest alone is asked for: its digest is the image's name for ever after, and where that is here already nothing
 * else is fetched. Then the copy is made by that digest, so a tag that moves meanwhile changes nothing.
 */
#include "common/image/internal.h"

#include "common/base/file.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_ARGUMENTS 32

struct pull {
	struct image_store *store;
	const struct image_pull_options *options;
	struct image_reference reference;
	char *temp;
	char *auth_file; /* NULL: anonymous, or skopeo's own defaults */
	char *cert_dir;
	const char *argv[MAX_ARGUMENTS];
	size_t argc;
	uint64_t done, total;
};

static void argument(struct pull *pull, const char *text)
{
	if (pull->argc + 1 < MAX_ARGUMENTS)
		pull->argv[pull->argc++] = text;
	pull->argv[pull->argc] = NULL;
}

/* Credentials go by a file of our own: a command line is everybody's to read. */
static int write_auth(struct pull *pull, struct error *err)
{
	const struct image_pull_options *options = pull->options;
	if (str_empty(options->username) && str_empty(options->auth_json))
		return 0;
	pull->auth_file = path_join(pull->temp, "auth.json", NULL);
	if (str_empty(options->username))
		return file_write(AT_FDCWD, pull->auth_file, options->auth_json, strlen(options->auth_json), 0600, err);
	autofree char *registry = xstrndup(pull->reference.repository, strcspn(pull->reference.repository, "/"));
	autofree char *pair = xprintf("%s:%s", options->username, str_or(options->password, ""));
	autobuf struct buf encoded = BUF_INIT(1 << 16);
	buf_append_base64(&encoded, pair, strlen(pair));
	autojson json_t *root = json_pack("{s:{s:{s:s}}}", "auths", registry, "auth", str_or(encoded.data, ""));
	autofree char *text = json_dumps(root, JSON_COMPACT);
	return file_write(AT_FDCWD, pull->auth_file, text, strlen(text), 0600, err);
}

/* "skopeo [global] <verb>" and the options of the source. */
static void begin_command(struct pull *pull, const char *verb, const char *prefix_tls, const char *prefix_auth, const char *prefix_cert)
{
	pull->argc = 0;
	argument(pull, "skopeo");
	if (pull->options->policy_path) {
		argument(pull, "--policy");
		argument(pull, pull->options->policy_path);
	} else if (!file_exists("/etc/containers/policy.json")) {
		argument(pull, "--insecure-policy");
	}
	argument(pull, "--tmpdir");
	argument(pull, pull->temp);
	argument(pull, verb);
	if (pull->options->insecure)
		argument(pull, prefix_tls);
	if (pull->auth_file) {
		argument(pull, prefix_auth);
		argument(pull, pull->auth_file);
	}
	if (pull->cert_dir) {
		argument(pull, prefix_cert);
		argument(pull, pull->cert_dir);
	}
}

/* The digest of what the tag names now: of the index, where the image has several platforms. */
static int resolve(struct pull *pull, char **ret_digest, struct error *err)
{
	if (pull->reference.digest) {
		*ret_digest = xstrdup(pull->reference.digest);
		return 0;
	}
	autofree char *source = xprintf("docker://%s:%s", pull->reference.repository, pull->reference.tag);
	begin_command(pull, "inspect", "--tls-verify=false", "--authfile", "--cert-dir");
	argument(pull, "--raw");
	argument(pull, source);
	autobuf struct buf out = BUF_INIT(IMAGE_MAX_MANIFEST);
	int r = skopeo_run(pull->argv, pull->options, &out, NULL, NULL, err);
	if (r < 0)
		return r;
	if (buf_failed(&out) || out.len == 0)
		return error_set(err, EPROTO, "registry gave no manifest, or one of more than %d bytes", IMAGE_MAX_MANIFEST);
	char hex[65];
	sha256_hex(out.data, out.len, hex);
	*ret_digest = xprintf("sha256:%s", hex);
	return 0;
}

/* skopeo tells when it begins a blob; how many there will be only shows as they come. */
static void on_line(const char *line, void *arg)
{
	struct pull *pull = arg;
	if (str_starts_with(line, "Copying blob")) {
		pull->total++;
	} else if (str_starts_with(line, "Writing manifest")) {
		pull->done = pull->total;
	}
	if (pull->options->progress)
		pull->options->progress(pull->done, pull->total, pull->options->progress_arg);
}

static int copy(struct pull *pull, const char *layout, const char *digest, struct error *err)
{
	autofree char *source = xprintf("docker://%s@%s", pull->reference.repository, digest);
	autofree char *target = xprintf("oci:%s:image", layout);
	autofree char *blobs = path_join(pull->store->root, "blobs", NULL);
	begin_command(pull, "copy", "--src-tls-verify=false", "--src-authfile", "--src-cert-dir");
	argument(pull, "--dest-shared-blob-dir");
	argument(pull, blobs);
	argument(pull, "--dest-oci-accept-uncompressed-layers");
	argument(pull, source);
	argument(pull, target);
	return skopeo_run(pull->argv, pull->options, NULL, on_line, pull, err);
}

static int pull_image(struct pull *pull, struct image **ret, struct error *err)
{
	autofree char *digest = NULL;
	int r = resolve(pull, &digest, err);
	if (r < 0)
		return r;
	autofree char *name = xprintf("%s@%s", pull->reference.repository, digest);
	char **tags = xcalloc(1, sizeof(char *));
	if (pull->reference.tag) {
		autofree char *tag = xprintf("%s:%s", pull->reference.repository, pull->reference.tag);
		strv_add(&tags, tag);
	}
	struct image *here = NULL;
	if (image_get(pull->store, name, &here, NULL) == 0) {
		r = tags[0] && !strv_has(here->tags, tags[0]) ? image_tag(pull->store, here->id, tags[0], err) : 0;
		image_free(here);
		if (r == 0)
			r = image_get(pull->store, name, ret, err);
		image_strv_free(tags);
		return r;
	}
	autofree char *layout = path_join(pull->temp, "layout", NULL);
	r = copy(pull, layout, digest, err);
	if (r == 0)
		r = store_import(pull->store, layout, tags, name, ret, err);
	image_strv_free(tags);
	return r;
}

int image_pull(struct image_store *store, const char *reference, const struct image_pull_options *options, struct image **ret, struct error *err)
{
	static const struct image_pull_options none = {0};
	struct pull pull = {.store = store, .options = options ? options : &none};
	int r = image_reference_parse(reference, &pull.reference, err);
	if (r < 0) {
		if (err) {
			free(err->reason);
			err->reason = xstrdup("InvalidImageName");
		}
		return r;
	}
	if (pull.options->registries_dir) {
		autofree char *host = xstrndup(pull.reference.repository, strcspn(pull.reference.repository, "/"));
		autofree char *dir = path_join(pull.options->registries_dir, host, NULL);
		if (file_exists(dir))
			pull.cert_dir = take_ptr(dir);
	}
	autoclose int content = -1;
	r = store_lock_content(store, false, true, &content, err);
	if (r == 0)
		r = store_make_temp(store, &pull.temp, err);
	if (r == 0)
		r = write_auth(&pull, err);
	struct image *image = NULL;
	if (r == 0)
		r = pull_image(&pull, &image, err);
	if (pull.temp)
		file_remove_all(pull.temp, NULL);
	image_reference_done(&pull.reference);
	free(pull.temp);
	free(pull.auth_file);
	free(pull.cert_dir);
	if (r < 0) {
		if (err && !err->reason)
			err->reason = xstrdup("ErrImagePull");
		return error_context(err, "failed to pull image \"%s\"", reference);
	}
	if (ret)
		*ret = image;
	else
		image_free(image);
	return 0;
}
