/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/configfile.h"
#include "common/api/yaml.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>

int configfile_parse(const char *text, size_t len, const struct api_type *type, const char *const *versions, void **ret, struct error *err) {
	autobuf struct buf json = BUF_INIT(CONFIGFILE_MAX * 2);
	struct api_decode_options options = {.validation = API_STRICT};
	void *object;
	if (!len)
		return error_set(err, EINVAL, "empty config data");
	int rc = yaml_to_json_one(text, len, &json, err);
	if (rc == 0)
		rc = api_decode_json(type, json.data, json.len, &options, &object, err);
	if (json.len)
		explicit_bzero(json.data, json.len); /* there may be keys in it */
	if (rc < 0)
		return rc;
	const struct { const char *kind, *api_version; } *head = object;
	bool known = false;
	for (; *versions; versions++)
		known |= str_equal(head->api_version, *versions);
	if (!known || !str_equal(head->kind, type->kind)) {
		rc = error_set(err, EINVAL, "no kind \"%s\" is known for version \"%s\": expected %s", str_or(head->kind, ""), str_or(head->api_version, ""), type->kind);
		api_unref(object);
		return rc;
	}
	*ret = object;
	return 0;
}

int configfile_read(const char *path, const struct api_type *type, const char *const *versions, void **ret, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, path, CONFIGFILE_MAX, &text, &len, err);
	return rc < 0 ? rc : configfile_parse(text, len, type, versions, ret, err);
}

int configfile_verdict(struct error *found, const char *what, struct error *err) {
	autobuf struct buf text = BUF_INIT(1u << 20);
	if (!error_has_causes(found))
		return 0;
	for (size_t i = 0; i < found->cause_count; i++)
		buf_printf(&text, "%s%s: %s", i ? ", " : "", found->causes[i].field, found->causes[i].message);
	bool many = found->cause_count > 1;
	return error_set(err, EINVAL, "invalid %s: %s%s%s", what, many ? "[" : "", text.data ? text.data : "", many ? "]" : "");
}
